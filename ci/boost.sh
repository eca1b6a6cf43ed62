#!/bin/sh
# C++ programs that were written for Boost.Context's assembly, linked against this library.
set -eu
cd "$(dirname "$0")/.."
KAPOK_REQUIRE_CXX=1 KAPOK_REQUIRE_BOOST=1 cargo test --features asm,boost-names --test boost_names --test cshim
