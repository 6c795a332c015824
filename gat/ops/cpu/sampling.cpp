// Neighbour sampling: one hop at a time, and what makes a sampled graph ready for the kernels.
//
// What is drawn for a node depends on the hop's key and the node alone (gat/sampling/draws.py has
// the definition, gat/sampling/reference.py the same in Python), so it is the same in any batch, in
// any order, in any process. Nodes are expanded in blocks: first all edges of a block are chosen,
// then their sources read, then these numbered, each step asking memory for what the next needs.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <new>
#include <numeric>
#include <unordered_map>
#include <vector>

#if defined(_WIN32)
#define GAT_EXPORT extern "C" __declspec(dllexport)
#else
#define GAT_EXPORT extern "C" __attribute__((visibility("default")))
#endif

namespace {

// gat/sampling/hops.py holds the same struct, field by field.
struct Hop {
  int64_t wide;  // whether rowptr, col and edge are int64 rather than int32
  const void *rowptr, *col;

  // The nodes to expand, and for each, where trees are kept apart, its tree and its tree's time.
  int64_t count;
  const int64_t *frontier, *tree, *tree_time;

  int64_t fanout, replace, last;
  uint64_t key;
  const double* weight;                   // [E] by sorted edge, or null
  const int64_t *edge_time, *node_time;   // [E] by sorted edge, [num_src], or null

  // How the sources found are numbered: by a table [num_src] of -1 or a number, or, where trees are
  // kept apart, from the nodes known so far.
  int32_t* table;
  int64_t known;
  const int64_t *known_nodes, *known_trees;

  // Out: edges of each node, as a pointer [count + 1]; of each edge its source's number and its own
  // sorted number; of each new source its node and tree; how many those are.
  int64_t* ends;
  int32_t* source;
  void* edge;
  int64_t *found, *found_trees;
  int64_t num_found;
};

constexpr uint64_t GAMMA = 0x9E3779B97F4A7C15;

inline uint64_t mix(uint64_t z) {
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EB;
  return z ^ (z >> 31);
}

// Draw number `index` of a stream.
inline uint64_t draw(uint64_t state, uint64_t index) { return mix(state + (index + 1) * GAMMA); }

// A whole number in [0, n).
inline int64_t below(uint64_t number, int64_t n) {
  return int64_t(uint64_t((static_cast<unsigned __int128>(number) * uint64_t(n)) >> 64));
}

// In (0, 1].
inline double fraction(uint64_t number) { return double((number >> 11) + 1) * 0x1p-53; }

inline uint64_t stream_of(const Hop& hop, int64_t i) {
  const uint64_t node = hop.frontier[i];
  const uint64_t state = mix(hop.key + (node + 1) * GAMMA);
  return hop.tree ? mix(state + (uint64_t(hop.tree[i]) + 1) * GAMMA) : state;
}

// How many a list of so many picks is compared by; longer ones are looked up in a bitmap.
constexpr int FEW = 16;

// `fanout` distinct numbers below n > fanout, into `to` (Floyd; Bentley and Floyd 1987, "A sample of
// brilliance": number j comes in where the draw below j + 1 has been taken).
template <class T>
void pick_distinct(uint64_t state, int64_t n, int64_t fanout, std::vector<uint64_t>& taken, T* to) {
  if (fanout <= FEW) {
    uint32_t seen[FEW];
    std::memset(seen, 0xff, sizeof seen);
    for (int64_t k = 0; k < fanout; ++k) {
      const int64_t j = n - fanout + k;
      int64_t t = below(draw(state, k), j + 1);
      uint32_t hit = 0;
      for (int q = 0; q < FEW; ++q) hit |= seen[q] == uint32_t(t);
      if (hit) t = j;
      seen[k] = uint32_t(t);
      to[k] = T(t);
    }
    return;
  }
  taken.assign((n + 63) / 64, 0);
  for (int64_t k = 0; k < fanout; ++k) {
    const int64_t j = n - fanout + k;
    int64_t t = below(draw(state, k), j + 1);
    if (taken[t >> 6] >> (t & 63) & 1) t = j;
    taken[t >> 6] |= uint64_t(1) << (t & 63);
    to[k] = T(t);
  }
}

// Chooses the edges of one node after another.
template <class T>
class Picker {
 public:
  explicit Picker(const Hop& hop)
      : hop_(hop),
        col_(static_cast<const T*>(hop.col)),
        plain_(!hop.weight && !hop.edge_time && !hop.node_time) {}

  // Sorted numbers of the chosen edges of frontier node i, whose edges are begin .. begin+n-1, into
  // `to`; returns how many.
  int64_t pick(int64_t i, int64_t begin, int64_t n, T* to) {
    const int64_t count = plain_ ? among_all(i, n, to) : among_some(i, begin, n, to);
    for (int64_t k = 0; k < count; ++k) to[k] += T(begin);
    return count;
  }

 private:
  const Hop& hop_;
  const T* col_;
  bool plain_;
  std::vector<uint64_t> taken_;
  std::vector<int64_t> allowed_;
  std::vector<double> keys_;

  int64_t among_all(int64_t i, int64_t n, T* to) {
    const int64_t fanout = hop_.fanout;
    if (fanout < 0 || (!hop_.replace && n <= fanout)) {
      for (int64_t k = 0; k < n; ++k) to[k] = T(k);
      return n;
    }
    if (n == 0 || fanout == 0) return 0;
    const uint64_t state = stream_of(hop_, i);
    if (hop_.replace)
      for (int64_t k = 0; k < fanout; ++k) to[k] = T(below(draw(state, k), n));
    else
      pick_distinct(state, n, fanout, taken_, to);
    return fanout;
  }

  int64_t time_of(int64_t edge) const {
    return hop_.edge_time ? hop_.edge_time[edge] : hop_.node_time[int64_t(col_[edge])];
  }

  // Where only some edges may be chosen, or not all alike.
  int64_t among_some(int64_t i, int64_t begin, int64_t n, T* to) {
    allowed_.clear();
    const bool timed = hop_.edge_time || hop_.node_time;
    const bool weighted = hop_.weight && hop_.fanout >= 0;
    for (int64_t k = 0; k < n; ++k) {
      if (timed && time_of(begin + k) > hop_.tree_time[i]) continue;
      if (weighted && !(hop_.weight[begin + k] > 0)) continue;
      allowed_.push_back(k);
    }
    const int64_t left = allowed_.size(), fanout = hop_.fanout;
    if (fanout < 0 || (left <= fanout && (hop_.last || !hop_.replace))) {
      for (int64_t k = 0; k < left; ++k) to[k] = T(allowed_[k]);
      return left;
    }
    if (left == 0 || fanout == 0) return 0;
    if (hop_.last) return newest(begin, to);
    const uint64_t state = stream_of(hop_, i);
    if (hop_.weight) return hop_.replace ? heavy_again(state, begin, to) : heavy(state, begin, to);
    if (hop_.replace)
      for (int64_t k = 0; k < fanout; ++k) to[k] = T(allowed_[below(draw(state, k), left)]);
    else {
      pick_distinct(state, left, fanout, taken_, to);
      for (int64_t k = 0; k < fanout; ++k) to[k] = T(allowed_[int64_t(to[k])]);
    }
    return fanout;
  }

  // The newest edges; of equally old ones the later.
  int64_t newest(int64_t begin, T* to) {
    const auto newer = [&](int64_t a, int64_t b) {
      const int64_t at = time_of(begin + a), bt = time_of(begin + b);
      return at != bt ? at > bt : a > b;
    };
    return first(newer, to);
  }

  // An exponential race: the first to arrive at rates of their weights are a weighted sample without
  // replacement (Efraimidis and Spirakis 2006, "Weighted random sampling with a reservoir").
  int64_t heavy(uint64_t state, int64_t begin, T* to) {
    keys_.resize(allowed_.back() + 1);
    for (int64_t k : allowed_) keys_[k] = -std::log(fraction(draw(state, k))) / hop_.weight[begin + k];
    return first([&](int64_t a, int64_t b) { return keys_[a] != keys_[b] ? keys_[a] < keys_[b] : a < b; },
                 to);
  }

  int64_t heavy_again(uint64_t state, int64_t begin, T* to) {
    keys_.clear();
    double total = 0;
    for (int64_t k : allowed_) keys_.push_back(total += hop_.weight[begin + k]);
    for (int64_t k = 0; k < hop_.fanout; ++k) {
      const double at = fraction(draw(state, k)) * total;
      const int64_t place = std::lower_bound(keys_.begin(), keys_.end(), at) - keys_.begin();
      to[k] = T(allowed_[std::min<int64_t>(place, allowed_.size() - 1)]);
    }
    return hop_.fanout;
  }

  // The first `fanout` of the allowed edges in some order, ascending.
  template <class Before>
  int64_t first(const Before& before, T* to) {
    std::nth_element(allowed_.begin(), allowed_.begin() + (hop_.fanout - 1), allowed_.end(), before);
    std::sort(allowed_.begin(), allowed_.begin() + hop_.fanout);
    for (int64_t k = 0; k < hop_.fanout; ++k) to[k] = T(allowed_[k]);
    return hop_.fanout;
  }
};

// Numbers of nodes in order of first occurrence, by a table over all nodes. Without a branch: about
// half of the sources are new, in no order that could be foreseen. What is no new node is written
// behind those found and written over by the next; there is room for as many as there are edges.
class TableNumbers {
 public:
  TableNumbers(Hop& hop)
      : hop_(hop), table_(hop.table), found_(hop.found), next_(int32_t(hop.known)) {}
  ~TableNumbers() { hop_.num_found = count_; }
  TableNumbers(const TableNumbers&) = delete;
  void ask(int64_t node) const { __builtin_prefetch(table_ + node, 1, 3); }
  int32_t number(int64_t node, int64_t) {
    const int32_t entry = table_[node];
    const int32_t is_new = entry < 0;
    const int32_t number = is_new ? next_ : entry;
    found_[count_] = node;
    count_ += is_new;
    next_ += is_new;
    table_[node] = number;
    return number;
  }

 private:
  Hop& hop_;
  int32_t* table_;
  int64_t* found_;
  int32_t next_;
  int64_t count_ = 0;
};

struct TreeNode {
  int64_t tree, node;
  bool operator==(const TreeNode& other) const { return tree == other.tree && node == other.node; }
};
struct TreeNodeHash {
  size_t operator()(const TreeNode& x) const { return mix(uint64_t(x.tree) * GAMMA + uint64_t(x.node)); }
};

// The same where each seed has a tree of its own.
class TreeNumbers {
 public:
  TreeNumbers(Hop& hop) : hop_(hop), next_(int32_t(hop.known)) {
    numbers_.reserve(2 * hop.known);
    for (int64_t k = 0; k < hop.known; ++k)
      numbers_.emplace(TreeNode{hop.known_trees[k], hop.known_nodes[k]}, int32_t(k));
  }
  void ask(int64_t) const {}
  int32_t number(int64_t node, int64_t i) {
    const int64_t tree = hop_.tree[i];
    const auto [place, is_new] = numbers_.emplace(TreeNode{tree, node}, next_);
    if (is_new) {
      ++next_;
      hop_.found_trees[hop_.num_found] = tree;
      hop_.found[hop_.num_found++] = node;
    }
    return place->second;
  }

 private:
  Hop& hop_;
  int32_t next_;
  std::unordered_map<TreeNode, int32_t, TreeNodeHash> numbers_;
};

constexpr int64_t BLOCK = 32;

template <class T, class Numbers>
void expand(Hop& hop) {
  const T* rowptr = static_cast<const T*>(hop.rowptr);
  const T* col = static_cast<const T*>(hop.col);
  T* edge = static_cast<T*>(hop.edge);
  Picker<T> picker(hop);
  Numbers numbers(hop);
  std::vector<int64_t> nodes;
  hop.ends[0] = 0;
  for (int64_t start = 0; start < hop.count; start += BLOCK) {
    const int64_t stop = std::min(start + BLOCK, hop.count);
    for (int64_t i = stop; i < std::min(stop + BLOCK, hop.count); ++i)
      __builtin_prefetch(rowptr + hop.frontier[i], 0, 3);
    for (int64_t i = start; i < stop; ++i) {
      const int64_t begin = rowptr[hop.frontier[i]], n = rowptr[hop.frontier[i] + 1] - begin;
      const int64_t at = hop.ends[i], picked = picker.pick(i, begin, n, edge + at);
      for (int64_t k = 0; k < picked; ++k) __builtin_prefetch(col + edge[at + k], 0, 3);
      hop.ends[i + 1] = at + picked;
    }
    const int64_t first = hop.ends[start], count = hop.ends[stop] - first;
    nodes.resize(std::max<int64_t>(count, nodes.size()));
    for (int64_t k = 0; k < count; ++k) numbers.ask(nodes[k] = col[edge[first + k]]);
    for (int64_t i = start, k = 0; i < stop; ++i)
      for (; k < hop.ends[i + 1] - first; ++k) hop.source[first + k] = numbers.number(nodes[k], i);
  }
}

template <class T>
void expand(Hop& hop) {
  if (hop.table)
    expand<T, TableNumbers>(hop);
  else
    expand<T, TreeNumbers>(hop);
}

}  // namespace

// Python's struct must be of this size.
GAT_EXPORT long long gat_cpu_hop_size() { return sizeof(Hop); }

// One hop. Returns 0, or 1 where memory is short.
GAT_EXPORT int64_t gat_cpu_sample_hop(Hop* hop) {
  try {
    hop->num_found = 0;
    if (hop->wide)
      expand<int64_t>(*hop);
    else
      expand<int32_t>(*hop);
    return 0;
  } catch (const std::bad_alloc&) {
    return 1;
  }
}

// Enters nodes into a table as numbers 0, 1, ...; returns the place of the first that is there
// already, or -1.
GAT_EXPORT int64_t gat_cpu_enter_nodes(int32_t* table, int64_t count, const int64_t* nodes) {
  for (int64_t k = 0; k < count; ++k) {
    if (table[nodes[k]] >= 0) return k;
    table[nodes[k]] = int32_t(k);
  }
  return -1;
}

// Makes a table as it was before.
GAT_EXPORT void gat_cpu_forget_nodes(int32_t* table, int64_t count, const int64_t* nodes) {
  constexpr int64_t AHEAD = 16;
  for (int64_t k = 0; k < count; ++k) {
    if (k + AHEAD < count) __builtin_prefetch(table + nodes[k + AHEAD], 1, 3);
    table[nodes[k]] = -1;
  }
}

// The edges sorted by source: rowptr [num_src + 1], col (targets), number (the edge's listed one:
// `listed`'s, or its position), and where each edge has gone. Targets stay in order.
GAT_EXPORT void gat_cpu_transpose(int64_t num_dst, int64_t num_src, const int32_t* rowptr,
                                  const int32_t* col, const int32_t* listed, int32_t* turned_rowptr,
                                  int32_t* turned_col, int32_t* number, int32_t* place) {
  const int32_t edges = rowptr[num_dst];
  std::fill(turned_rowptr, turned_rowptr + num_src + 1, 0);
  // Counted one place further on, summed up, and then each start walks to its row's end.
  for (int32_t e = 0; e < edges; ++e) ++turned_rowptr[col[e] + 1];
  std::partial_sum(turned_rowptr, turned_rowptr + num_src + 1, turned_rowptr);
  for (int64_t i = 0; i < num_dst; ++i)
    for (int32_t e = rowptr[i]; e < rowptr[i + 1]; ++e) {
      const int32_t at = turned_rowptr[col[e]]++;
      turned_col[at] = int32_t(i);
      number[at] = listed ? listed[e] : e;
      place[e] = at;
    }
  std::memmove(turned_rowptr + 1, turned_rowptr, num_src * sizeof(int32_t));
  turned_rowptr[0] = 0;
}

// Every target's loop exactly once, after its other edges: rowptr [num_dst + 1], col and listed
// numbers [edges + num_dst at most]; the caller's loops go. origin [the same]: the caller's number of
// each listed edge, kept ones first, then loops: that of the first one the caller passed, or -1.
// Returns how many edges are kept.
GAT_EXPORT int64_t gat_cpu_add_loops(int64_t num_dst, const int32_t* rowptr, const int32_t* col,
                                     int32_t* looped_rowptr, int32_t* looped_col, int32_t* number,
                                     int32_t* origin) {
  int64_t kept = 0;
  for (int64_t i = 0; i < num_dst; ++i)
    for (int32_t e = rowptr[i]; e < rowptr[i + 1]; ++e) kept += col[e] != i;
  int32_t at = 0, listed = 0;
  looped_rowptr[0] = 0;
  for (int64_t i = 0; i < num_dst; ++i) {
    int32_t own = -1;
    for (int32_t e = rowptr[i]; e < rowptr[i + 1]; ++e) {
      if (col[e] == i) {
        if (own < 0) own = e;
        continue;
      }
      looped_col[at] = col[e];
      number[at++] = listed;
      origin[listed++] = e;
    }
    looped_col[at] = int32_t(i);
    number[at++] = int32_t(kept + i);
    origin[kept + i] = own;
    looped_rowptr[i + 1] = at;
  }
  return kept;
}
