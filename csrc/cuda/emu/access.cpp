#include "cuda/emu/access.h"

#include <algorithm>
#include <map>
#include <tuple>
#include <vector>

#include "cuda/emu/buffers.h"
#include "cuda/emu/machine.h"

namespace secateur::emu {

namespace {

using Group = std::vector<const Access*>;  // of one warp instruction, by lane
using Span = std::pair<std::uint64_t, std::uint64_t>;

constexpr int kBanks = 32, kBankBytes = 4, kSector = 32;

// The accesses' bytes as ascending spans that do not touch.
const std::vector<Span>& spans_of(const Group& group) {
  static std::vector<Span> spans, merged;
  spans.clear();
  merged.clear();
  for (const Access* a : group)
    spans.emplace_back(a->address, a->address + static_cast<std::uint64_t>(a->bytes));
  std::sort(spans.begin(), spans.end());
  for (const Span& span : spans)
    if (!merged.empty() && span.first <= merged.back().second)
      merged.back().second = std::max(merged.back().second, span.second);
    else
      merged.push_back(span);
  return merged;
}

// The most distinct words any bank has to give to these lanes.
int conflicts(Group::const_iterator begin, Group::const_iterator end) {
  static std::vector<std::uint64_t> words;
  words.clear();
  for (auto it = begin; it != end; ++it)
    for (int byte = 0; byte < (*it)->bytes; byte += kBankBytes)
      words.push_back(((*it)->address + static_cast<std::uint64_t>(byte)) / kBankBytes);
  std::sort(words.begin(), words.end());
  int of_bank[kBanks] = {};
  int most = 0;
  for (auto word = words.begin(); word != words.end(); ++word)
    if (word == words.begin() || *word != *(word - 1))
      most = std::max(most, ++of_bank[*word % kBanks]);
  return most;
}

// 128 bytes are asked for at a time: by all lanes, or by a half or a quarter of wider ones.
void count_wavefronts(const Group& group, std::int64_t& wavefronts, std::int64_t& ideal) {
  const int lanes = kWarp * kBankBytes / std::max(kBankBytes, group.front()->bytes);
  for (std::size_t at = 0; at < group.size(); at += static_cast<std::size_t>(lanes)) {
    const auto begin = group.begin() + static_cast<std::ptrdiff_t>(at);
    const auto left = group.end() - begin;
    wavefronts += conflicts(begin, begin + std::min<std::ptrdiff_t>(lanes, left));
    ++ideal;
  }
}

void count_sectors(const Group& group, bool loads) {
  Counters& total = report().counters;
  std::int64_t sectors = 0, bytes = 0;
  std::uint64_t last = ~std::uint64_t{0};
  for (const auto& [begin, end] : spans_of(group)) {
    std::int64_t offset = 0, here = 0;
    for (std::uint64_t s = begin / kSector; s <= (end - 1) / kSector; ++s)
      if (s != last) {
        last = s;
        ++here;
      }
    const auto length = static_cast<std::int64_t>(end - begin);
    sectors += here;
    bytes += length;
    Buffer* buffer = buffers().find(begin, offset);
    if (buffer == nullptr) continue;
    (loads ? buffer->read_sectors : buffer->written_sectors) += here;
    (loads ? buffer->read_bytes : buffer->written_bytes) += length;
    if (loads && !buffer->reads.empty())
      for (std::int64_t i = std::max<std::int64_t>(0, offset);
           i < std::min(buffer->size, offset + length); ++i)
        ++buffer->reads[static_cast<std::size_t>(i)];
  }
  (loads ? total.load_sectors : total.store_sectors) += sectors;
  (loads ? total.load_sectors_ideal : total.store_sectors_ideal) += (bytes + kSector - 1) / kSector;
}

// Lanes whose predicate is off ask for nothing; where all are, the instruction is still issued.
void count_shared_load(Group group, Counters& c) {
  ++c.lds;
  std::erase_if(group, [](const Access* a) { return a->bytes == 0; });
  if (!group.empty()) count_wavefronts(group, c.lds_wavefronts, c.lds_wavefronts_ideal);
}

void count(const Group& group) {
  Counters& c = report().counters;
  switch (group.front()->kind) {
    case Kind::load_shared:
      return count_shared_load(group, c);
    case Kind::store_shared:
      ++c.sts;
      return count_wavefronts(group, c.sts_wavefronts, c.sts_wavefronts_ideal);
    case Kind::copy_to:
      ++c.ldgsts;
      return count_wavefronts(group, c.ldgsts_wavefronts, c.ldgsts_wavefronts_ideal);
    case Kind::load_global:
      ++c.ldg;
      return count_sectors(group, true);
    case Kind::copy_from:
      return count_sectors(group, true);
    case Kind::store_global:
      ++c.stg;
      return count_sectors(group, false);
    case Kind::atomic_global:
      ++c.atomic;
      return count_sectors(group, false);
    case Kind::atomic_shared:
      ++c.atomic;
  }
}

bool same_place(const Access& a, const Access& b) {
  return a.kind == b.kind && a.where.line() == b.where.line() &&
         a.where.column() == b.where.column() && a.where.file_name() == b.where.file_name();
}

// Whether all lanes that logged anything logged the same instructions in the same order.
bool in_step(const std::vector<const std::vector<Access>*>& logs) {
  for (const auto* log : logs) {
    if (log->size() != logs.front()->size()) return false;
    for (std::size_t i = 0; i < log->size(); ++i)
      if (!same_place((*log)[i], (*logs.front())[i])) return false;
  }
  return true;
}

void count_out_of_step(const std::vector<const std::vector<Access>*>& logs) {
  using Place = std::tuple<const char*, unsigned, unsigned, int>;
  std::map<std::pair<Place, int>, Group> groups;
  for (const auto* log : logs) {
    std::map<Place, int> times;
    for (const Access& a : *log) {
      const auto place = [&](Kind kind) {
        return Place{a.where.file_name(), a.where.line(), a.where.column(), static_cast<int>(kind)};
      };
      // A copy of zeros alone reads nothing: its reads are numbered as its writes are.
      const int number =
          a.kind == Kind::copy_from ? times[place(Kind::copy_to)] - 1 : times[place(a.kind)]++;
      groups[{place(a.kind), number}].push_back(&a);
    }
  }
  for (const auto& [key, group] : groups) count(group);
}

}  // namespace

void account(Block& block, int first_thread, int lanes) {
  std::vector<const std::vector<Access>*> logs;
  for (int lane = 0; lane < lanes; ++lane) {
    const auto& log = block.threads[static_cast<std::size_t>(first_thread + lane)].log;
    if (!log.empty()) logs.push_back(&log);
  }
  if (logs.empty()) return;
  if (in_step(logs)) {
    Group group(logs.size());
    for (std::size_t i = 0; i < logs.front()->size(); ++i) {
      for (std::size_t lane = 0; lane < logs.size(); ++lane) group[lane] = &(*logs[lane])[i];
      count(group);
    }
  } else {
    count_out_of_step(logs);
  }
  for (int lane = 0; lane < lanes; ++lane)
    block.threads[static_cast<std::size_t>(first_thread + lane)].log.clear();
}

int row_wavefronts(const std::uint32_t (&rows)[8]) {
  constexpr int kRowBytes = 16, kGroups = kBanks * kBankBytes / kRowBytes;
  int of_group[kGroups] = {};
  int most = 0;
  for (int i = 0; i < 8; ++i) {
    const bool seen = std::find(rows, rows + i, rows[i]) != rows + i;
    if (!seen) most = std::max(most, ++of_group[rows[i] / kRowBytes % kGroups]);
  }
  return most;
}

}  // namespace secateur::emu
