//===- DependentPTX.cpp - Whether emitted kernels wait first --------------===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "PTXTarget.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/SmallVector.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/ADT/StringMap.h"
#include "llvm/ADT/Twine.h"

using namespace nsa;
using llvm::SmallVector;
using llvm::StringRef;

namespace {

/// A statement of a kernel's body.
struct Statement {
  unsigned line;
  /// Without its guard.
  StringRef text;
  bool isGuarded;

  StringRef getOpcode() const {
    return text.take_until([](char c) { return llvm::isSpace(c); });
  }
  StringRef getOperands() const {
    return text.drop_front(getOpcode().size()).ltrim();
  }
};

/// The statements of a kernel, and where its labels and tables lead.
class Body {
public:
  /// `text` begins at the kernel's first brace, which is in line `line`.
  Body(StringRef text, unsigned line) : rest(text), line(line) { read(); }

  std::optional<std::string> check() const;

private:
  void read();
  void skipSpace();
  void skip(size_t count) {
    line += rest.take_front(count).count('\n');
    rest = rest.drop_front(count);
  }
  void addStatement(StringRef text);
  /// Appends where the jump `statement` leads to. Returns false for a label
  /// that there is not.
  bool addTargets(const Statement &statement, SmallVector<size_t> &ahead) const;

  StringRef rest;
  unsigned line;
  SmallVector<Statement> statements;
  /// The place of the statement behind a label.
  llvm::StringMap<size_t> labels;
  /// The labels of a table of `brx.idx`.
  llvm::StringMap<SmallVector<StringRef>> tables;
};

} // namespace

void Body::skipSpace() {
  while (true) {
    skip(rest.size() - rest.ltrim().size());
    if (rest.starts_with("//"))
      skip(std::min(rest.find('\n'), rest.size()));
    else if (rest.starts_with("/*"))
      skip(std::min(rest.find("*/"), rest.size() - 2) + 2);
    else
      return;
  }
}

void Body::read() {
  unsigned depth = 0;
  while (true) {
    skipSpace();
    if (rest.empty())
      return;
    if (rest.front() == '{' || rest.front() == '}') {
      depth += rest.front() == '{' ? 1 : -1;
      skip(1);
      if (depth == 0)
        return;
      continue;
    }
    StringRef name = rest.take_while(
        [](char c) { return llvm::isAlnum(c) || c == '_' || c == '$'; });
    StringRef behind = rest.drop_front(name.size()).ltrim();
    if (!name.empty() && behind.starts_with(":") && !behind.starts_with("::")) {
      labels[name] = statements.size();
      skip(rest.size() - behind.size() + 1);
      skipSpace();
      if (rest.consume_front(".branchtargets")) {
        size_t end = std::min(rest.find(';'), rest.size());
        SmallVector<StringRef> targets;
        rest.take_front(end).split(targets, ',');
        for (StringRef &target : targets)
          target = target.trim();
        tables[name] = targets;
        skip(end);
        rest.consume_front(";");
      }
      continue;
    }
    // The one directive that ends with its line.
    size_t end =
        std::min(rest.find(rest.starts_with(".loc") ? '\n' : ';'), rest.size());
    addStatement(rest.take_front(end));
    skip(end);
    if (!rest.empty())
      skip(1);
  }
}

void Body::addStatement(StringRef text) {
  bool isGuarded = text.consume_front("@");
  if (isGuarded)
    text = text.drop_until([](char c) { return llvm::isSpace(c); }).ltrim();
  if (!text.starts_with("."))
    statements.push_back({line, text.rtrim(), isGuarded});
}

/// What an instruction may not do before the wait, or nothing.
static StringRef getHazard(StringRef opcode) {
  SmallVector<StringRef> parts;
  opcode.split(parts, '.');
  auto has = [&](StringRef part) {
    return llvm::any_of(parts,
                        [&](StringRef each) { return each.starts_with(part); });
  };
  if (parts[0] == "ret" || parts[0] == "exit")
    return "an end";
  if (parts[0] == "call")
    return "a call";
  static constexpr StringRef accesses[] = {
      "ld", "ldu",      "st",      "atom",          "red",
      "cp", "prefetch", "discard", "applypriority", "multimem"};
  if (!llvm::is_contained(accesses, parts[0]))
    return {};
  // Without a space it is generic. A copy has two.
  bool isLocal = has("param") || has("shared") || has("local") || has("const");
  return has("global") || !isLocal ? "an access to global memory" : "";
}

bool Body::addTargets(const Statement &statement,
                      SmallVector<size_t> &ahead) const {
  SmallVector<StringRef> targets{statement.getOperands()};
  if (statement.getOpcode().starts_with("brx")) {
    auto table = tables.find(statement.getOperands().rsplit(',').second.trim());
    if (table == tables.end())
      return false;
    targets = table->second;
  }
  for (StringRef target : targets) {
    auto label = labels.find(target);
    if (label == labels.end())
      return false;
    ahead.push_back(label->second);
  }
  return true;
}

std::optional<std::string> Body::check() const {
  auto report = [](const Statement &statement, const llvm::Twine &what) {
    return ("PTX line " + llvm::Twine(statement.line) + ": " + what + ": " +
            statement.text)
        .str();
  };
  for (const Statement &statement : statements)
    if (statement.getOpcode().starts_with("ld") &&
        statement.getOpcode().contains(".nc"))
      return report(statement, "a load through the read-only path");

  llvm::SmallVector<bool> seen(statements.size(), false);
  SmallVector<size_t> ahead{0};
  while (!ahead.empty()) {
    size_t place = ahead.pop_back_val();
    if (place >= statements.size())
      return std::string("its code ends without griddepcontrol.wait");
    if (seen[place])
      continue;
    seen[place] = true;
    const Statement &statement = statements[place];
    StringRef opcode = statement.getOpcode();
    if (opcode == "griddepcontrol.wait" && !statement.isGuarded)
      continue;
    if (StringRef hazard = getHazard(opcode); !hazard.empty())
      return report(statement,
                    hazard + " on a path without griddepcontrol.wait");
    bool isJump = opcode.starts_with("bra") || opcode.starts_with("brx");
    if (isJump && !addTargets(statement, ahead))
      return report(statement, "a jump to where there is nothing");
    if ((!isJump && opcode != "trap") || statement.isGuarded)
      ahead.push_back(place + 1);
  }
  return std::nullopt;
}

std::optional<std::string> nsa::findAccessBeforeWait(StringRef ptx,
                                                     StringRef name) {
  std::string entry = (".entry " + name + "(").str();
  size_t at = ptx.find(entry);
  size_t begin = at == StringRef::npos ? at : ptx.find('{', at);
  if (begin == StringRef::npos)
    return std::string("there is no such kernel");
  unsigned line = 1 + ptx.take_front(begin).count('\n');
  return Body(ptx.drop_front(begin), line).check();
}
