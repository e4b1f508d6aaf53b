//===- Hover.h - What operations mean, on hover -----------------*- C++ -*-===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef NSA_TOOLS_NSA_LSP_SERVER_HOVER_H
#define NSA_TOOLS_NSA_LSP_SERVER_HOVER_H

#include <functional>

namespace nsa {

/// Runs `serve`, which answers a client on standard output, and adds to each
/// answer on what is under the cursor what the dialect's documentation says of
/// the operation. Returns what `serve` does.
int serveWithDocumentation(const std::function<int()> &serve);

} // namespace nsa

#endif // NSA_TOOLS_NSA_LSP_SERVER_HOVER_H
