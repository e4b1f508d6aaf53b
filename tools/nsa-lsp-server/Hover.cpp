//===- Hover.cpp - What operations mean, on hover -------------------------===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

//
// MLIR's server says the name of an operation and its generic form, and has no
// place to say more. So its answers go through a pipe, where a thread reads
// them, message by message, and passes them on.
//
//===----------------------------------------------------------------------===//

#include "Hover.h"

#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/JSON.h"
#include "llvm/Support/raw_ostream.h"

#include <cstdio>
#include <thread>
#include <unistd.h>

using namespace llvm;

/// Of all operations, as mlir-tblgen writes it.
static constexpr const char documentation[] =
#include "Documentation.inc"
    ;

/// The summary and the description of operation `name`, or nothing.
static StringRef getDocumentation(StringRef name) {
  StringRef text = documentation;
  size_t begin = text.find(("### `" + name + "` (").str());
  if (begin == StringRef::npos)
    return {};
  text = text.substr(begin).split('\n').second;
  // What follows is for those who write passes.
  for (StringRef end : {"\nTraits:", "\nInterfaces:", "\nEffects:", "\n### "})
    text = text.take_front(text.find(end));
  return text.trim();
}

/// The operation that an answer names, or nothing for one on a port or a block.
static StringRef getOperation(StringRef hover) {
  if (hover.contains("Argument #") || hover.contains("Block #"))
    return {};
  hover.consume_front("Operation: ");
  if (!hover.consume_front("\""))
    return {};
  return hover.split('"').first;
}

/// Adds to the body of a message what there is to say.
static void addDocumentation(std::string &body) {
  Expected<json::Value> message = json::parse(body);
  if (!message)
    return consumeError(message.takeError());
  json::Object *object = message->getAsObject();
  json::Object *result = object ? object->getObject("result") : nullptr;
  json::Object *contents = result ? result->getObject("contents") : nullptr;
  std::optional<StringRef> value =
      contents ? contents->getString("value") : std::nullopt;
  StringRef text = value ? getDocumentation(getOperation(*value)) : "";
  if (text.empty())
    return;
  std::string both = (*value + "\n---\n" + text + "\n").str();
  (*contents)["value"] = std::move(both);
  bool isPretty = StringRef(body).contains('\n');
  body = isPretty ? formatv("{0:2}", *message).str()
                  : formatv("{0}", *message).str();
}

/// Passes messages on from `from` to `to`, until there are no more.
static void passOn(std::FILE *from, std::FILE *to) {
  std::string header, body;
  for (int c = std::fgetc(from); c != EOF; c = std::fgetc(from)) {
    header += char(c);
    if (!StringRef(header).ends_with("\r\n\r\n"))
      continue;
    StringRef rest = StringRef(header).split("Content-Length:").second;
    size_t length = 0;
    if (rest.ltrim().consumeInteger(10, length))
      length = 0;
    body.resize(length);
    body.resize(std::fread(body.data(), 1, length, from));
    addDocumentation(body);
    std::fprintf(to, "Content-Length: %zu\r\n\r\n", body.size());
    std::fwrite(body.data(), 1, body.size(), to);
    std::fflush(to);
    header.clear();
  }
  // What is no message.
  std::fwrite(header.data(), 1, header.size(), to);
  std::fflush(to);
}

int nsa::serveWithDocumentation(const std::function<int()> &serve) {
  int ends[2];
  int client = dup(STDOUT_FILENO);
  if (client < 0 || pipe(ends) != 0)
    return serve();
  std::FILE *from = fdopen(ends[0], "rb"), *to = fdopen(client, "wb");
  dup2(ends[1], STDOUT_FILENO);
  close(ends[1]);
  std::thread thread(passOn, from, to);
  int status = serve();
  outs().flush();
  // The last end that writes: the thread comes to an end.
  close(STDOUT_FILENO);
  thread.join();
  dup2(client, STDOUT_FILENO);
  std::fclose(from);
  std::fclose(to);
  return status;
}
