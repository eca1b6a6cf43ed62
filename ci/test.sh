#!/bin/sh
# The whole suite under one switch engine, with nothing skipped: ci/test.sh ENGINE [cargo's flags].
set -eu
cd "$(dirname "$0")/.."
engine=$1
shift
KAPOK_SWITCH=$engine KAPOK_REQUIRE_CLIENTS=1 KAPOK_REQUIRE_CXX=1 KAPOK_REQUIRE_FAULTS=1 ci/suite.sh "$@"
