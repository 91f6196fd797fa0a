#!/bin/sh
# `latecomer status` of the compose deployment, from the host, with the operator's login.
# Arguments go to `latecomer status`; LATECOMER_COMMAND=doctor runs another command instead.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
compose() { docker compose --project-directory "$(dirname "$0")/.." "$@"; }

# The password's volume is mounted by `keys` alone, which has done its work and stopped.
compose cp keys:/keys/operator/. "$folder" >/dev/null 2>&1 || {
    echo "no operator's password: docker compose up --build -d --wait brings up what is missing" >&2
    exit 3
}
# Of a server that is down compose knows no port, and a URL without a host is this machine's own
# server, which would be sent the operator's password.
broker=$(compose port rabbitmq 5672) || broker=rabbitmq.invalid:5672
store=$(compose port store 6379) || store=store.invalid:6379
LATECOMER_BROKER_URL="amqp://$broker/latecomer" \
LATECOMER_STORE_URL="redis://$store/0" \
LATECOMER_BROKER_USER=operator \
LATECOMER_STORE_USER=operator \
LATECOMER_SECRETS_DIR="$folder" \
LATECOMER_FEDERATION="${LATECOMER_FEDERATION:-three-cities}" \
    latecomer "${LATECOMER_COMMAND:-status}" "$@"
