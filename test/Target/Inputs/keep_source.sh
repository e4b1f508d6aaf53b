#!/bin/sh
# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# In the place of the C compiler that makes a module of tvm-ffi: keeps its source, as
# $KEEP/STEP.ffi.c, with a function that says whether a call passes the straight checks.
while [ $# -gt 0 ]; do
  case $1 in
  -o) output=$2 ;;
  c) source=$2 ;;
  esac
  shift
done
step=$(sed -n "s/.*from the step '\(.*\)': a module.*/\1/p" "$source")
kept=$KEEP/$step.ffi.c
cp "$source" "$kept" && : >"$output"
{
  echo "int ${step}_ffi_is_plain(const nsa_ffi_any *args) {"
  if grep -q "${step}_given;" "$kept"; then
    echo "  ${step}_given given;"
    echo "  int64_t sizes[8], blocks[8];"
    echo "  return ${step}_take(args, &given) && ${step}_is_plain(&given, sizes, blocks);"
  else
    echo "  (void)args;"
    echo "  return 0;"
  fi
  echo "}"
} >>"$kept"
