#!/bin/bash
# Makes this machine a host of Vireo: installs libvirt and QEMU, fetches a certificate for libvirt's TLS port, and
# tells Vireo that it is ready. Run once, as root, on Debian or on a relative of Enterprise Linux.
#
# What runs here keeps running: libvirt is restarted, its guests are not. Files that are replaced are kept beside
# the new ones as *.before-vireo. The private key is made here and never leaves.
#
# Sourced instead of run, it only defines its functions. Every function that writes takes the root directory first.
set -euo pipefail

say() { printf '==> %s\n' "$*"; }

fail() {
    printf 'vireo: %s\n' "$*" >&2
    exit 1
}

# Prints "debian" or "el"; $1 is an os-release file.
family_of() {
    local ID="" ID_LIKE="" word
    # shellcheck disable=SC1090
    . "$1"
    for word in $ID $ID_LIKE; do
        case "$word" in
            debian | ubuntu) echo debian && return ;;
            rhel | centos | fedora | rocky | almalinux) echo el && return ;;
        esac
    done
    return 1
}

install_packages() {
    case "$1" in
        debian)
            export DEBIAN_FRONTEND=noninteractive
            apt-get update -q
            apt-get install -q -y --no-install-recommends \
                libvirt-daemon-system libvirt-clients qemu-system-x86 qemu-utils dnsmasq-base iptables ovmf swtpm swtpm-tools openssl curl
            ;;
        el)
            dnf install -y --setopt=install_weak_deps=False \
                libvirt-daemon-kvm libvirt-client qemu-kvm qemu-img dnsmasq edk2-ovmf swtpm openssl curl
            ;;
    esac
}

# Makes key.pem and request.pem in directory $1, for address $2.
make_request() {
    (
        umask 077
        openssl req -new -newkey rsa:3072 -nodes -sha256 -subj "/CN=$2" -keyout "$1/key.pem" -out "$1/request.pem" 2>/dev/null
    )
}

# Posts file $3 (may be empty) to URL $2, with the token from a file: arguments can be seen by every user. Prints the answer.
post() {
    local directory=$1 url=$2 file=$3 status
    (
        umask 077
        printf 'Authorization: Bearer %s\nContent-Type: application/octet-stream\n' "$VIREO_TOKEN" >"$directory/headers"
    )
    status=$(curl -sS -o "$directory/answer" -w '%{http_code}' -H "@$directory/headers" --data-binary "@$file" "$url") || fail "cannot reach $url"
    case "$status" in
        2*) cat "$directory/answer" ;;
        *) fail "Vireo refused ($status): $(head -c 500 "$directory/answer")" ;;
    esac
}

# Sends directory $1's request and keeps the answer there as cert.pem, after checking it against our CA and our key.
fetch_certificate() {
    local directory=$1
    printf '%s\n' "$CA_CERTIFICATE" >"$directory/ca.pem"
    post "$directory" "$PORTAL_URL/csr" "$directory/request.pem" >"$directory/cert.pem"
    openssl verify -CAfile "$directory/ca.pem" "$directory/cert.pem" >/dev/null 2>&1 || fail "the answer is no certificate of the CA that this script came with"
    [ "$(openssl x509 -in "$directory/cert.pem" -noout -pubkey)" = "$(openssl pkey -in "$directory/key.pem" -pubout)" ] ||
        fail "the certificate is not for the key that was made here"
}

# Puts file $2 to $3 with mode $4; what differs there is kept as *.before-vireo, the first one for good.
place() {
    local root=$1 source=$2 target=$1$3 mode=$4
    mkdir -p "$(dirname "$target")"
    if [ -e "$target" ] && ! cmp -s "$source" "$target" && [ ! -e "$target.before-vireo" ]; then
        cp -a "$target" "$target.before-vireo"
    fi
    install -m "$mode" "$source" "$target"
}

# Installs what is in directory $2: for libvirt's TLS port, and for this host as a client of other hosts (migration).
install_certificates() {
    local root=$1 directory=$2
    place "$root" "$directory/ca.pem" /etc/pki/CA/cacert.pem 0644
    place "$root" "$directory/cert.pem" /etc/pki/libvirt/servercert.pem 0644
    place "$root" "$directory/key.pem" /etc/pki/libvirt/private/serverkey.pem 0600
    place "$root" "$directory/cert.pem" /etc/pki/libvirt/clientcert.pem 0644
    place "$root" "$directory/key.pem" /etc/pki/libvirt/private/clientkey.pem 0600
    place "$root" "$directory/ca.pem" /etc/pki/qemu/ca-cert.pem 0644
    place "$root" "$directory/cert.pem" /etc/pki/qemu/server-cert.pem 0644
    place "$root" "$directory/key.pem" /etc/pki/qemu/server-key.pem 0640
    place "$root" "$directory/cert.pem" /etc/pki/qemu/client-cert.pem 0644
    place "$root" "$directory/key.pem" /etc/pki/qemu/client-key.pem 0640
}

# QEMU reads its key as its own group, which Debian and EL name differently.
own_qemu_key() {
    local group
    for group in libvirt-qemu qemu; do
        if getent group "$group" >/dev/null; then
            chgrp "$group" /etc/pki/qemu/server-key.pem /etc/pki/qemu/client-key.pem
            return
        fi
    done
}

# Sets option $2 to $3 in the libvirt configuration file $1, once, whatever stood there.
set_option() {
    local file=$1 name=$2 value=$3
    mkdir -p "$(dirname "$file")"
    [ -e "$file" ] || : >"$file"
    [ -e "$file.before-vireo" ] || cp -a "$file" "$file.before-vireo"
    sed -i "/^[[:space:]]*$name[[:space:]]*=/d" "$file"
    printf '%s = %s\n' "$name" "$value" >>"$file"
}

# Where displays listen: the address that Vireo knows when it is this machine's own, else everywhere.
display_address() {
    if ip -o addr show 2>/dev/null | awk '{ sub("/.*", "", $4); print $4 }' | grep -Fxq -- "$1"; then
        printf '%s' "$1"
    else
        printf '0.0.0.0'
    fi
}

# Configures libvirt below $1: $2 is the daemon that owns the TLS port, $3 the display's address.
configure() {
    local root=$1 daemon=$2 displays=$3
    set_option "$root/etc/libvirt/$daemon.conf" listen_tls 1
    set_option "$root/etc/libvirt/$daemon.conf" listen_tcp 0
    set_option "$root/etc/libvirt/$daemon.conf" tls_port "\"$TLS_PORT\""
    set_option "$root/etc/libvirt/$daemon.conf" auth_tls '"none"'
    set_option "$root/etc/libvirt/$daemon.conf" tls_no_verify_certificate 0
    set_option "$root/etc/libvirt/qemu.conf" vnc_listen "\"$displays\""
    # systemd owns the port when it starts the daemon by socket.
    mkdir -p "$root/etc/systemd/system/$daemon-tls.socket.d"
    printf '[Socket]\nListenStream=\nListenStream=%s\n' "$TLS_PORT" >"$root/etc/systemd/system/$daemon-tls.socket.d/vireo.conf"
}

# No disk is opened by two hosts at once: virtlockd keeps a lock on each, which the others see where the storage has locks.
# Not under guests that run: they hold none. Prints why it is left out, if it is.
keep_locks() {
    local root=$1 guests=$2
    if ! compgen -G "$root/usr/lib*/libvirt/lock-driver/lockd.so" >/dev/null && ! compgen -G "$root/usr/lib/*/libvirt/lock-driver/lockd.so" >/dev/null; then
        echo "This libvirt has no virtlockd: locks of disks are not kept."
    elif [ -n "$guests" ]; then
        echo "Guests run: locks of disks are kept once none does and the host is enrolled again."
    else
        set_option "$root/etc/libvirt/qemu.conf" lock_manager '"lockd"'
        set_option "$root/etc/libvirt/qemu-lockd.conf" auto_disk_leases 1
    fi
}

# "libvirtd" where one daemon does all (Debian, EL 8), "virtproxyd" where each driver has its own (EL 9 and later).
daemon_of() {
    if systemctl cat virtqemud.service >/dev/null 2>&1 && ! systemctl is-enabled -q libvirtd.service 2>/dev/null; then
        echo virtproxyd
    else
        echo libvirtd
    fi
}

running_guests() { virsh -q -c qemu:///system list --uuid 2>/dev/null | sed '/^$/d' | sort; }

# Restarts libvirt so that it listens; daemon $1. Guests are processes of their own and stay.
restart_libvirt() {
    local daemon=$1 driver
    systemctl daemon-reload
    systemctl enable -q --now virtlockd.socket || true  # a libvirt without it was told above
    if [ "$daemon" = virtproxyd ]; then
        for driver in qemu network storage nodedev secret interface nwfilter; do
            systemctl enable -q --now "virt${driver}d.socket"
        done
        systemctl try-restart virtqemud.service
    fi
    # A socket cannot start while its service runs without it.
    systemctl stop "$daemon.service"
    systemctl enable -q --now "$daemon.socket"
    systemctl enable -q "$daemon-tls.socket"
    systemctl restart "$daemon-tls.socket"
    [ "$daemon" = libvirtd ] && systemctl enable -q libvirtd.service
    systemctl start "$daemon.service"
}

open_firewall() {
    if command -v firewall-cmd >/dev/null && firewall-cmd -q --state; then
        firewall-cmd -q --permanent --add-port="$TLS_PORT/tcp" --add-port=5900-6923/tcp --add-port=49152-49215/tcp
        firewall-cmd -q --reload
    fi
}

main() {
    local family daemon work before
    [ "$(id -u)" = 0 ] || fail "run this as root"
    [ -n "${VIREO_TOKEN:-}" ] || fail "VIREO_TOKEN is missing: paste the whole command"
    family=$(family_of /etc/os-release) || fail "this is neither Debian nor Enterprise Linux nor one of their relatives"
    work=$(mktemp -d)
    # shellcheck disable=SC2064
    trap "rm -rf '$work'" EXIT

    say "Installing libvirt and QEMU"
    install_packages "$family"
    say "Fetching a certificate for $HOST_ADDRESS"
    make_request "$work" "$HOST_ADDRESS"
    fetch_certificate "$work"
    install_certificates "" "$work"
    own_qemu_key
    say "Configuring libvirt"
    daemon=$(daemon_of)
    before=$(running_guests)
    configure "" "$daemon" "$(display_address "$HOST_ADDRESS")"
    keep_locks "" "$before"
    restart_libvirt "$daemon"
    open_firewall
    [ -z "$(comm -23 <(printf '%s\n' "$before") <(running_guests))" ] || fail "guests that ran before are not seen by libvirt any more; look at: journalctl -u $daemon"
    say "Telling Vireo"
    post "$work" "$PORTAL_URL/ready" /dev/null
}

if [ "${BASH_SOURCE[0]}" = "$0" ]; then
    main "$@"
fi
