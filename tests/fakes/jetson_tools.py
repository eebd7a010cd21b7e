"""nvpmodel, jetson_clocks and sudo for a root folder, which keep their state in its files.

They speak and behave as those of L4T R32 and JetPack 5: a mode has its own highest clocks, mode 2
needs a restart and asks for it, an old file of stored clocks is asked about, and sudo never asks
for a password. Every call is noted in the file `calls`. A file `<tool>.does` changes what a tool
does: "refuse", "nothing" or "slowly".
"""

from pathlib import Path

from tests.fakes import boards

_HEAD = """#!/bin/sh
root=$(cd "$(dirname "$0")/../.." && pwd)
tool=$(basename "$0")
cpus="$root"/sys/devices/system/cpu/cpu*/cpufreq
gpu=$root/sys/devices/gpu.0/devfreq/17000000.gp10b
does=$(cat "$root/$tool.does" 2>/dev/null)
case "$1" in -q) ;; *) echo "$tool${1:+ }$*" >>"$root/calls" ;; esac
put() { printf '%s\\n' "$1" >"$2.new" && mv "$2.new" "$2"; }
limits() {  # least and most of the cores in kHz, then of the GPU in Hz
    for cpu in $cpus; do
        put "$1" "$cpu/scaling_min_freq"; put "$2" "$cpu/scaling_max_freq"
        put "$2" "$cpu/scaling_cur_freq"
    done
    put "$3" "$gpu/min_freq"; put "$4" "$gpu/max_freq"; put "$4" "$gpu/cur_freq"
}
refuse() { [ "$does" = refuse ] && { echo "$tool: Permission denied"; exit 1; }; }
"""

_NVPMODEL = (
    _HEAD
    + """
mode=$(cat "$root/mode")
case "$1" in
-q)
    case $mode in 0) name=MAXN ;; 1) name=MAXQ ;; 2) name=MAXP_CORE_ALL ;; *) name=MAXP_CORE_ARM ;;
    esac
    printf 'NV Fan Mode:quiet\\nNV Power Mode: %s\\n%s\\n' "$name" "$mode" ;;
-m)
    refuse
    if [ "$2" = 2 ]; then
        echo "NVPM WARN: Reboot required for changing to this power mode: 2"
        echo "NVPM WARN: DO YOU WANT TO REBOOT NOW? enter YES/yes to confirm:"
        read -r answer
        case "$answer" in YES | yes) touch "$root/rebooted" ;; esac
        exit 0
    fi
    [ "$does" = nothing ] && exit 0
    [ "$does" = slowly ] && sleep 1.5
    put "$2" "$root/mode"
    if [ "$2" = 0 ]; then limits 345600 2035200 114750000 1300500000
    else limits 345600 2035200 114750000 1122000000; fi ;;
esac
"""
)

_JETSON_CLOCKS = (
    _HEAD
    + """
first=$root/sys/devices/system/cpu/cpu0/cpufreq
case "$1" in
--store)
    refuse
    if [ -e "$2" ]; then
        echo "File $2 already exists. Can I overwrite it? Y/N:"
        read -r answer
        [ "$answer" = y ] || { echo "Please run again without overwriting"; exit 0; }
    fi
    cat "$first/scaling_min_freq" "$first/scaling_max_freq" "$gpu/min_freq" "$gpu/max_freq" >"$2" ;;
--restore)
    refuse
    [ "$does" = nothing ] && exit 0
    [ -e "$2" ] || { echo "Can't access restore file $2"; exit 1; }
    limits $(cat "$2") ;;
"")
    refuse
    [ "$does" = nothing ] && exit 0
    [ "$does" = slowly ] && sleep 1.5
    most=$(cat "$first/scaling_max_freq") gpu_most=$(cat "$gpu/max_freq")
    limits "$most" "$most" "$gpu_most" "$gpu_most" ;;
esac
"""
)

_SUDO = """#!/bin/sh
# sudo -n COMMAND, sudo -n -l COMMAND
root=$(cd "$(dirname "$0")/../.." && pwd)
[ -e "$root/sudo.does" ] && { echo "sudo: a password is required"; exit 1; }
[ "$1" = -n ] && shift
[ "$1" = -l ] && { echo "$2"; exit 0; }
exec "$@"
"""

MODES = "".join(
    f"< POWER_MODEL ID={number} NAME={name} >\n"
    for number, name in enumerate("MAXN MAXQ MAXP_CORE_ALL MAXP_CORE_ARM".split())
)


def lay(root: Path) -> str:
    """Make a board in mode 3 with two cores and a GPU, whose governors are free."""
    return boards.lay(
        root,
        boards.cpu(0, (345600, 2035200, 806400)),
        boards.cpu(1, (345600, 2035200, 806400)),
        boards.devfreq("/sys/devices/gpu.0/devfreq/17000000.gp10b", (114750000, 1122000000, 1)),
        {
            "/mode": "3\n",
            "/calls": "",
            "/run/lock": "",
            "/etc/nvpmodel.conf": MODES,
            "/proc/sys/kernel/random/boot_id": "6e2d1cb5-0f5f-4f0e-9a3b-8b8a9cbb8ed2\n",
            "/usr/sbin/nvpmodel": _NVPMODEL,
            "/usr/bin/jetson_clocks": _JETSON_CLOCKS,
            "/usr/bin/sudo": _SUDO,
        },
    )


def calls(root: str) -> list[str]:
    """Every changing call so far, the root left out."""
    return Path(root, "calls").read_text().replace(root, "").splitlines()
