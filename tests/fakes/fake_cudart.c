/* What of CUDA's libcudart is called, as cuda_runtime_api.h of 10.2 declares it, with a
 * processor's memory in place of a device's.
 *
 * Strict where 10.2 is: flags are refused once the device has started, a pointer that was not
 * given out is invalid, and a copy beyond an allocation is too. GENSYNTH_CUDA chooses the machine:
 * "none" has no device, "full" no memory to start with, "small" 4 KiB, "lost" fails every copy,
 * "pageable" copies from and to memory of the host's that it did not give out, as all CUDA does.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { SUCCESS = 0, INVALID_VALUE = 1, MEMORY_ALLOCATION = 2, ILLEGAL_ADDRESS = 700,
       SET_ON_ACTIVE_PROCESS = 36, NO_DEVICE = 100, LAUNCH_FAILURE = 719, SLOTS = 256 };

struct block { char *at; size_t size; int host; };

static struct block blocks[SLOTS];
static int started;
static unsigned flags;

static int is(const char *machine) {
    const char *name = getenv("GENSYNTH_CUDA");
    return name && strcmp(name, machine) == 0;
}

static struct block *find(const void *at, int host) {
    for (int i = 0; i < SLOTS; i++)
        if (at && blocks[i].at == at && blocks[i].host == host) return &blocks[i];
    return 0;
}

static int allocate(void **at, size_t size, int host) {
    size_t used = size;
    started = 1;
    for (int i = 0; i < SLOTS; i++) used += blocks[i].host ? 0 : blocks[i].size;
    if (!host && is("small") && used > 4096) return MEMORY_ALLOCATION;
    for (int i = 0; i < SLOTS; i++)
        if (!blocks[i].at) {
            blocks[i] = (struct block){malloc(size ? size : 1), size, host};
            *at = blocks[i].at;
            return SUCCESS;
        }
    return MEMORY_ALLOCATION;
}

static int release(void *at, int host) {
    struct block *found = find(at, host);
    if (!found) return INVALID_VALUE;
    free(found->at);
    *found = (struct block){0};
    return SUCCESS;
}

int cudaSetDeviceFlags(unsigned wanted) {
    if (is("none")) return NO_DEVICE;
    if (started) return SET_ON_ACTIVE_PROCESS;
    flags = wanted;
    return SUCCESS;
}

int cudaSetDevice(int device) {
    if (is("none")) return NO_DEVICE;
    if (is("full")) return MEMORY_ALLOCATION;
    started = 1;
    return device == 0 ? SUCCESS : INVALID_VALUE;
}

int cudaRuntimeGetVersion(int *version) { *version = 10020; return SUCCESS; }

int cudaDeviceGetAttribute(int *value, int attribute, int device) {
    if (is("none")) return NO_DEVICE;
    if (device != 0) return INVALID_VALUE;
    switch (attribute) {
    case 16: *value = 2; return SUCCESS;  /* cudaDevAttrMultiProcessorCount */
    case 75: *value = 6; return SUCCESS;  /* cudaDevAttrComputeCapabilityMajor */
    case 76: *value = 2; return SUCCESS;  /* cudaDevAttrComputeCapabilityMinor */
    default: return INVALID_VALUE;
    }
}

int cudaMalloc(void **at, size_t size) { return allocate(at, size, 0); }
int cudaMallocHost(void **at, size_t size) { return allocate(at, size, 1); }
int cudaFree(void *at) { return release(at, 0); }
int cudaFreeHost(void *at) { return release(at, 1); }

int cudaMemcpy(void *to, const void *from, size_t size, int kind) {
    struct block *target = find(to, kind == 2), *source = find(from, kind == 1);
    if (is("lost")) return LAUNCH_FAILURE;
    if (kind != 1 && kind != 2) return INVALID_VALUE;
    struct block any = {0, size, 1};
    if (is("pageable") && kind == 1 && !source) source = &any;
    if (is("pageable") && kind == 2 && !target) target = &any;
    if (!target || !source) return INVALID_VALUE;
    if (size > target->size || size > source->size) return ILLEGAL_ADDRESS;
    memcpy(to, from, size);
    return SUCCESS;
}

int cudaDeviceSynchronize(void) { return is("lost") ? LAUNCH_FAILURE : SUCCESS; }

/* For the tests: what was asked for, and what is there. */
unsigned fake_flags(void) { return flags; }
size_t fake_size_at(uintptr_t at) {
    struct block *found = find((void *)at, 0);
    return found ? found->size : 0;
}
int fake_blocks(void) {
    int count = 0;
    for (int i = 0; i < SLOTS; i++) count += blocks[i].at != 0;
    return count;
}
