#include "cuda/emu/report.h"

#include <cstring>

namespace secateur::emu {

namespace {
constexpr std::size_t kKeptMessages = 5;  // of each kind
}

Report the_report;

bool Report::wants(const char* kind) {
  Finding& finding = findings_[kind];
  if (finding.first.size() < kKeptMessages) return true;
  ++finding.count;
  return false;
}

void Report::add(const char* kind, const Where& where, const std::string& what) {
  Finding& finding = findings_[kind];
  ++finding.count;
  if (finding.first.size() >= kKeptMessages) return;
  const char* slash = std::strrchr(where.file_name(), '/');
  const std::string file = slash != nullptr ? slash + 1 : where.file_name();
  finding.first.push_back(file + ":" + std::to_string(where.line()) + ": " + what);
}

std::string quoted(const std::string& text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    out += c < ' ' ? ' ' : c;
  }
  return out + '"';
}

std::string Report::findings_json() const {
  std::string out;
  for (const auto& [kind, finding] : findings_) {
    std::string messages;
    for (const auto& text : finding.first) messages += (messages.empty() ? "" : ",") + quoted(text);
    out += (out.empty() ? "" : ",") + quoted(kind) +
           ":{\"count\":" + std::to_string(finding.count) + ",\"first\":[" + messages + "]}";
  }
  return "{" + out + "}";
}

std::string Report::counters_json() const {
  std::string out;
#define COUNTER(name)            \
  out += out.empty() ? "" : ","; \
  out += quoted(#name) + ":" + std::to_string(counters.name);
#include "cuda/emu/counters.inc"
#undef COUNTER
  return "{" + out + "}";
}

}  // namespace secateur::emu
