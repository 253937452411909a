#!/bin/sh
# usage: debian13.sh DIRECTORY
# Unpacks what the tests use of Debian 13 below DIRECTORY; tests/built/debian.sh says how.
exec sh "$(dirname "$0")/built/debian.sh" trixie "$1" \
    libnss3-tools openssl gnutls-bin tshark rsyslog rsyslog-openssl python3.13 python3.13-venv \
    dnsmasq-base radsecproxy coturn snmp snmpd
