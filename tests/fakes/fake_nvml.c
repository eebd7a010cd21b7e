/* What of NVIDIA's libnvidia-ml.so.1 is called, as its reference describes it.
 *
 * GENSYNTH_NVML chooses the machine: "card" counts 250 W since the first call, "tegra" starts and
 * supports nothing, "permission" refuses, "none" has a driver that is not loaded. The file
 * GENSYNTH_NVML_REASONS holds the reasons that lower the clocks.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { SUCCESS = 0, UNINITIALIZED = 1, NOT_SUPPORTED = 3, NO_PERMISSION = 4, NOT_FOUND = 6,
       DRIVER_NOT_LOADED = 9 };

static int started, card;

static int is(const char *machine) {
    const char *name = getenv("GENSYNTH_NVML");
    return name && strcmp(name, machine) == 0;
}

int nvmlInit_v2(void) {
    if (is("none")) return DRIVER_NOT_LOADED;
    started = 1;
    return SUCCESS;
}

int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **device) {
    if (!started) return UNINITIALIZED;
    if (index > 1) return NOT_FOUND;
    *device = &card;
    return SUCCESS;
}

int nvmlDeviceGetHandleByUUID(const char *uuid, void **device) {
    if (!started) return UNINITIALIZED;
    if (strcmp(uuid, "GPU-6b4f")) return NOT_FOUND;
    *device = &card;
    return SUCCESS;
}

int nvmlDeviceGetName(void *device, char *name, unsigned length) {
    if (device != &card || length < 96) return 2;
    strcpy(name, "NVIDIA H200");
    return SUCCESS;
}

int nvmlDeviceGetTotalEnergyConsumption(void *device, unsigned long long *millijoules) {
    struct timespec now;
    if (device != &card) return 2;
    if (is("tegra")) return NOT_SUPPORTED;
    if (is("permission")) return NO_PERMISSION;
    clock_gettime(CLOCK_MONOTONIC, &now);
    *millijoules = (now.tv_sec * 10 + now.tv_nsec / 100000000) * 25000ULL; /* every 100 ms */
    return SUCCESS;
}

int nvmlDeviceGetCurrentClocksThrottleReasons(void *device, unsigned long long *reasons) {
    const char *path = getenv("GENSYNTH_NVML_REASONS");
    FILE *file = path ? fopen(path, "r") : NULL;
    if (device != &card) return 2;
    if (is("tegra")) return NOT_SUPPORTED;
    *reasons = 0;
    if (file) {
        if (fscanf(file, "%llx", reasons) != 1) *reasons = 0;
        fclose(file);
    }
    return SUCCESS;
}
