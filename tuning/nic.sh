#!/usr/bin/env bash
# Assigns the queues of a network card to the CPUs of the shards: each receive queue interrupts one
# CPU, and each CPU sends through its own queue. So the packets of a connection are handled on the
# CPU of its shard, or at least on few CPUs.
#
#   tuning/nic.sh eth0                    prints the values and files that it would write
#   tuning/nic.sh eth0 --apply            writes them (needs root; lasts until the next boot)
#   tuning/nic.sh eth0 --cpus 0-3,8       for shards on these CPUs; default: all online CPUs
#   tuning/nic.sh eth0 --off [--apply]    turns RPS and XPS off; keeps the interrupt affinity
#
# With at least as many queues as CPUs: queue i interrupts CPU i of the list (modulo its length), and
# RPS is off.
# With fewer queues than CPUs: RPS distributes packets from the interrupted CPU to other CPUs, by a
# hash of the connection.
#   unit   CPU numbers (affinity), CPU bit masks in hexadecimal (RPS, XPS)
#   helps  when one CPU is busy with softirqs (`mpstat -P ALL`, column %soft) while others are idle
#   hurts  RPS costs an inter-processor interrupt per batch of packets; with enough queues it has no
#          benefit. irqbalance undoes the affinity: stop it first
#   Kernel: Documentation/networking/scaling.rst (RSS, RPS, XPS), core-api/irq/irq-affinity.rst
#
# --root DIR reads and writes below DIR instead of / (for tests).
set -euo pipefail

usage() {
    sed -n '2,/^set -euo/{/^#/s/^# \{0,1\}//p}' "$0"
    exit "${1:-2}"
}

interface='' apply=no off=no cpus='' root=''
while [ $# -gt 0 ]; do
    case $1 in
        --apply) apply=yes ;;
        --off) off=yes ;;
        --cpus | --root)
            [ $# -ge 2 ] || usage
            if [ "$1" = --cpus ]; then cpus=$2; else root=$2; fi
            shift
            ;;
        -h | --help) usage 0 ;;
        -*) usage ;;
        *) interface=$1 ;;
    esac
    shift
done
[ -n "$interface" ] || usage

card=$root/sys/class/net/$interface
if [ ! -d "$card/queues" ]; then
    echo "nic.sh: there is no interface $interface with queues; see ip link" >&2
    exit 1
fi
[ -n "$cpus" ] || cpus=$(cat "$root/sys/devices/system/cpu/online")

# Expands a list of CPUs: 0-2,5 becomes 0 1 2 5.
expand() {
    local part first last
    for part in ${1//,/ }; do
        first=${part%-*} last=${part#*-}
        if ! [[ $first =~ ^[0-9]+$ && $last =~ ^[0-9]+$ && $first -le $last ]]; then
            echo "nic.sh: '$1' is not a list of CPUs such as 0-3,8" >&2
            exit 1
        fi
        seq "$first" "$last"
    done
}

# Converts CPU numbers to a kernel mask: groups of 32 bits, the highest first, joined by commas.
mask() {
    local cpu group most=0 text=''
    local -a groups=()
    for cpu in "$@"; do
        group=$((cpu / 32))
        [ "$group" -le "$most" ] || most=$group
        groups[group]=$((${groups[group]:-0} | 1 << (cpu % 32)))
    done
    for ((group = most; group >= 0; group--)); do
        text+=$(printf '%08x' "${groups[group]:-0}"),
    done
    echo "${text%,}"
}

# Removes leading zeros and commas from a mask. In a list they are CPUs: 0,8 is not 8.
plain() { # file
    if [[ $1 == *_list ]]; then cat; else sed 's/^[0,]*//'; fi
}

# Writes a value to a file, unless the file has it.
set_to() { # value file
    local value=$1 file=$2 there
    if [ ! -e "$file" ]; then
        echo "#   $file does not exist: this card or kernel does not support it"
        return
    fi
    # Reading fails if the interface has never been up.
    there=$(cat "$file" 2>/dev/null) || there=unknown
    if [ "$(plain "$file" <<<"$there")" = "$(plain "$file" <<<"$value")" ]; then
        echo "#   $file already has the value $value"
        return
    fi
    echo "echo $value > $file"
    if [ "$apply" = yes ] && ! echo "$value" >"$file"; then
        echo "nic.sh: the kernel rejected $value for $file" >&2
        failed=yes
    fi
}

failed=no
list=$(expand "$cpus")
mapfile -t cpu <<<"$list"
mapfile -t receive < <(find "$card/queues/" -maxdepth 1 -name 'rx-*' -printf '%f\n' | sort -V)
mapfile -t send < <(find "$card/queues/" -maxdepth 1 -name 'tx-*' -printf '%f\n' | sort -V)
# The interrupts of a virtio card belong to its PCI device, one level up.
mapfile -t irqs < <(find "$card/device/msi_irqs/" "$card/device/../msi_irqs/" -maxdepth 1 \
    -name '[0-9]*' -printf '%f\n' 2>/dev/null | sort -nu)
echo "# $interface: ${#receive[@]} receive and ${#send[@]} send queues for ${#cpu[@]} CPUs ($cpus)"

# Interrupts of queues have names that end with the number of the queue (eth0-TxRx-3, eth0-Tx-Rx-3,
# virtio0-input.0); other interrupts of the card are for its management.
found=no
for irq in ${irqs[@]+"${irqs[@]}"}; do
    name=$(awk -v line="$irq:" '$1 == line { print $NF }' "$root/proc/interrupts")
    [[ $name =~ (input|output|rx|tx|Tx-?Rx|comp|fp|queue)[-.]?([0-9]+) ]] || continue
    found=yes
    [ "$off" = yes ] ||
        set_to "${cpu[BASH_REMATCH[2] % ${#cpu[@]}]}" "$root/proc/irq/$irq/smp_affinity_list"
done
if [ "$found" = no ] && [ "$off" = no ]; then
    echo "#   found no interrupts of queues; their affinity is unchanged"
fi

rps=0
if [ "$off" = no ] && [ "${#receive[@]}" -lt "${#cpu[@]}" ]; then
    rps=$(mask "${cpu[@]}")
    echo "#   fewer queues than CPUs; first try to get more with  ethtool -L $interface combined ${#cpu[@]}"
fi
for queue in ${receive[@]+"${receive[@]}"}; do
    set_to "$rps" "$card/queues/$queue/rps_cpus"
done

nth=0
for queue in ${send[@]+"${send[@]}"}; do
    xps=0
    if [ "$off" = no ]; then
        mine=()
        for ((at = nth; at < ${#cpu[@]}; at += ${#send[@]})); do mine+=("${cpu[at]}"); done
        # With more queues than CPUs, each CPU has several queues.
        [ ${#mine[@]} -gt 0 ] || mine=("${cpu[nth % ${#cpu[@]}]}")
        xps=$(mask "${mine[@]}")
    fi
    set_to "$xps" "$card/queues/$queue/xps_cpus"
    nth=$((nth + 1))
done

if [ -z "$root" ] && [ "$(cat /proc/[0-9]*/comm 2>/dev/null | grep -cx irqbalance)" != 0 ]; then
    echo "#   irqbalance is running and will undo this; run  systemctl disable --now irqbalance"
fi
[ "$apply" = yes ] || echo "# nothing was written; use --apply to write"
[ "$failed" = no ]
