//===- Plan.h - Planning as Python sees it ----------------------*- C++ -*-===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef NSA_PYTHON_PLAN_H
#define NSA_PYTHON_PLAN_H

#include <nanobind/nanobind.h>

namespace nsa::python {

/// Adds what nsa/plan.py is made of.
void registerPlan(nanobind::module_ &m);

} // namespace nsa::python

#endif // NSA_PYTHON_PLAN_H
