#!/usr/bin/env bash
# Installs what a real node needs on Debian or Ubuntu, as far as it is missing: containerd and its helpers, the tools that
# make images, and what the tests put into images. Says so and does nothing where it cannot: the tests that need a node are
# then skipped by name.
set -uo pipefail

# Command to look for, and the package that has it.
needed=(
  containerd:containerd runc:runc ip:iproute2 umoci:umoci skopeo:skopeo busybox:busybox-static ssh-keygen:openssh-client
)

missing=()
for pair in "${needed[@]}"; do
  command -v "${pair%%:*}" >/dev/null || missing+=("${pair##*:}")
done
[ -x /usr/lib/cni/bridge ] || [ -x /opt/cni/bin/bridge ] || missing+=(containernetworking-plugins)
if [ ${#missing[@]} -eq 0 ]; then
  echo 'Everything that a node needs is installed.'
  exit 0
fi

if [ "$(uname -s)" != Linux ] || [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
  echo "A node lacks ${missing[*]}; install them as root with apt-get, or the tests that need a node are skipped."
  exit 0
fi
export DEBIAN_FRONTEND=noninteractive
wait=(-o DPkg::Lock::Timeout=300)
apt-get "${wait[@]}" update -qq &&
  # No service is started by the packages: each test cluster starts a containerd of its own.
  apt-get "${wait[@]}" install -y -qq --no-install-recommends "${missing[@]}"
