#!/bin/sh
# Make every secret of this installation, once: nothing has a default password. Run again it changes nothing.
#   init.sh CA PLATFORM BROKER POSTGRES INFLUX GRAFANA METRICS    one folder for each reader
# Each folder is given to the user that its container runs as, when this runs as root.
set -eu
umask 077
[ $# -eq 7 ] || { echo "usage: $0 CA PLATFORM BROKER POSTGRES INFLUX GRAFANA METRICS" >&2; exit 2; }
ca=$1 platform=$2 broker=$3 postgres=$4 influx=$5 grafana=$6 metrics=$7

# once FILE WORDS... : write what is printed, unless FILE is there; a cut short file is never left behind
once() {
  file=$1; shift
  [ -s "$file" ] || { "$@" > "$file.new" && mv "$file.new" "$file"; }
}
secret() { python3 -c 'import secrets; print(secrets.token_urlsafe(32), end="")'; }
show() { cat "$1"; }

mkdir -p "$ca" "$platform/settings" "$platform/certs" "$broker" "$postgres" "$influx" "$grafana" "$metrics"
[ -s "$ca/ca.pem" ] || urbanpulse certs init --dir "$ca"
[ -s "$ca/broker.pem" ] || urbanpulse certs server broker broker localhost ${BROKER_HOSTS:-} --dir "$ca"
[ -s "$ca/urbanpulse.pem" ] || urbanpulse certs client urbanpulse --dir "$ca"
for name in ca.pem crl.pem broker.pem broker.key; do cp "$ca/$name" "$broker/$name"; done
for name in ca.pem urbanpulse.pem urbanpulse.key; do cp "$ca/$name" "$platform/certs/$name"; done

once "$postgres/password" secret
once "$influx/password" secret
once "$influx/token" secret
once "$grafana/password" secret
once "$grafana/influx-token" show "$influx/token"
once "$platform/settings/catalog.url" \
  printf 'postgresql+psycopg://urbanpulse:%s@catalog:5432/urbanpulse' "$(cat "$postgres/password")"
once "$platform/settings/series.influx.token" show "$influx/token"

if [ "$(id -u)" = 0 ]; then # the users of the images that compose.yaml names
  chown -R 10001:10001 "$platform"
  chown -R 1883:1883 "$broker"
  chown -R 999:999 "$postgres"
  chown -R 1000:1000 "$influx"
  chown -R 472:0 "$grafana"
  chown 10002:10002 "$metrics" # no secret in it, but a volume that root has made
fi
echo "secrets are in place"
