//===- Errors.h - Exceptions that Python gets -------------------*- C++ -*-===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef NSA_PYTHON_ERRORS_H
#define NSA_PYTHON_ERRORS_H

#include <nanobind/nanobind.h>

#include <string>
#include <string_view>

namespace nsa::python {

/// A str of bytes that may be a path, as os.fsdecode makes it of UTF-8.
nanobind::object textOf(std::string_view bytes);

/// What str() makes of an object, in UTF-8, whatever characters it has.
std::string bytesOf(nanobind::handle object);

/// The name of an object's type, for messages.
std::string typeNameOf(nanobind::handle object);

/// The UTF-8 of a name. Throws nanobind::python_error for a lone surrogate.
const char *utf8Of(nanobind::handle name);

/// Sets an exception of `type`, whose attribute `argument` is the name of the
/// argument that it is about, or None if that is empty. An exception that is
/// set already becomes its cause.
void setError(PyObject *type, std::string_view message,
              std::string_view argument);

/// Raises `type` with "argument 'NAME': MESSAGE".
[[noreturn]] void raiseFor(PyObject *type, std::string_view argument,
                           std::string_view message);

/// Whether the exception that is set says that something cannot be done, as
/// exporters of arrays do for what they cannot export. Others, as those that
/// end a program, are no answer, and go on to the caller.
bool isRefusal();

/// An attribute, or null without an exception set. Throws what is not a
/// refusal.
nanobind::object getOptional(nanobind::handle object, const char *name);

} // namespace nsa::python

#endif // NSA_PYTHON_ERRORS_H
