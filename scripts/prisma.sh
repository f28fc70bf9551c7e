#!/bin/sh
# Prisma's command line without a network: it asks for no updates, and takes any program for its migration engine, which is a download.
# usage: scripts/prisma.sh COMMAND [OPTIONS]
#        scripts/prisma.sh check      both schemas are valid and formatted
#        scripts/prisma.sh format
set -e
cd "$(dirname "$0")/.."
PATH=$PWD/node_modules/.bin:$PATH
export CHECKPOINT_DISABLE=1 PRISMA_SCHEMA_ENGINE_BINARY="$(command -v node)"
each() { for schema in prisma/control/models prisma/tracking/models; do prisma "$@" --schema "$schema"; done; }
case ${1-} in
  check)
    each validate
    each format --check
    ;;
  format) each format ;;
  *) exec prisma "$@" ;;
esac
