//===- JsonReader.h - Checked access to a JSON document ---------*- C++ -*-===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// A JSON value with the path to it, so that every complaint can say where:
// "manifest: arguments[2].dtype: expected a string but got 3".
//
//===----------------------------------------------------------------------===//

#ifndef NSA_LIB_RUNTIME_JSONREADER_H
#define NSA_LIB_RUNTIME_JSONREADER_H

#include "Error.h"

#include <nlohmann/json.hpp>

#include <optional>
#include <string>

namespace nsa::runtime {

class JsonReader {
public:
  using Json = nlohmann::json;

  JsonReader(const Json &json, std::string path)
      : json(json), path(std::move(path)) {}

  template <typename... Parts>
  [[noreturn]] void error(const Parts &...parts) const {
    fail(NSA_MANIFEST, "manifest: ", path, path.empty() ? "" : ": ", parts...);
  }

  [[noreturn]] void expected(const char *what) const {
    std::string got = json.dump(-1, ' ', false, Json::error_handler_t::replace);
    if (got.size() > 60)
      got = got.substr(0, 60) + "...";
    error("expected ", what, " but got ", got);
  }

  bool isNull() const { return json.is_null(); }
  bool isString() const { return json.is_string(); }
  bool isInteger() const { return json.is_number_integer(); }
  bool isArray() const { return json.is_array(); }

  JsonReader member(const char *key) const {
    std::optional<JsonReader> found = optionalMember(key);
    if (!found)
      error("expected a member '", key, "'");
    return *found;
  }

  /// Nothing where the member is missing or null.
  std::optional<JsonReader> optionalMember(const char *key) const {
    if (!json.is_object())
      expected("an object");
    auto it = json.find(key);
    if (it == json.end() || it->is_null())
      return std::nullopt;
    return JsonReader(*it, path.empty() ? key : path + "." + key);
  }

  size_t size() const {
    if (!json.is_array())
      expected("an array");
    return json.size();
  }

  JsonReader operator[](size_t index) const {
    return JsonReader(json[index], path + "[" + std::to_string(index) + "]");
  }

  std::string string() const {
    if (!json.is_string())
      expected("a string");
    return json.get<std::string>();
  }

  int64_t integer(int64_t min, int64_t max, const char *what) const {
    bool fits = json.is_number_unsigned()
                    ? json.get<uint64_t>() <= static_cast<uint64_t>(INT64_MAX)
                    : json.is_number_integer();
    if (!fits)
      expected(what);
    int64_t value = json.get<int64_t>();
    if (value < min || value > max)
      expected(what);
    return value;
  }

  bool boolean() const {
    if (!json.is_boolean())
      expected("true or false");
    return json.get<bool>();
  }

private:
  const Json &json;
  std::string path;
};

} // namespace nsa::runtime

#endif // NSA_LIB_RUNTIME_JSONREADER_H
