// alpha-entmax over the edges of each target, one head after another: the step and its gradients.
//
// Of `Call`: scores `per_edge` and `weights` [E, H], and `att`, alpha [H]. The backward needs the
// weights, not the scores.
#include "entmax.h"

#include <algorithm>

#include "kernels.h"
#include "steps.h"

namespace gat::GAT_ISA {
namespace {

// What a score costs, in multiplications.
constexpr int64_t SCORE_WORK = 64;

// Scores added up in A before the sum goes on in double.
constexpr int64_t CHUNK = 32 * LANES;

// Numbers of a thread's heads side by side: as many heads as fit, at least one.
constexpr int64_t ROOM = 1 << 14;

// Newton's steps come from above for alpha <= 2; one halving in so many bounds them for every
// alpha and any scores.
constexpr int HALVING = 8, MOST_STEPS = 60 * HALVING;

int64_t padded(int64_t degree) { return (degree + LANES - 1) / LANES * LANES; }

int64_t longest_row(const Edges& edges) {
  int64_t longest = 0;
  for (int64_t row = 0; row < edges.rows; ++row)
    longest = larger(longest, edges.start(row + 1) - edges.start(row));
  return padded(longest);
}

// A row's numbers of some heads, each in a stretch of its own, gathered and scattered by blocks.
template <class A>
struct Stretches {
  A* at;
  int64_t size;  // a multiple of LANES

  A* of(int64_t head) const { return at + head * size; }
};

// body(first head, one past the last) for as many heads at a time as have room.
template <class Body>
void for_heads(int64_t heads, int64_t size, const Body& body) {
  const int64_t group = larger<int64_t>(1, ROOM / larger<int64_t>(size, 1));
  for (int64_t first = 0; first < heads; first += group)
    body(first, smaller(first + group, heads));
}

int64_t room_for(int64_t longest) { return larger(longest, ROOM); }

// The threshold --------------------------------------------------------------------------------

template <class A, class Form>
Sums<A> add_up(const Form& form, const A* z, int64_t n) {
  Sums<A> sums;
  A weight[LANES], slope[LANES], count[LANES], least[LANES];
  for (int k = 0; k < LANES; ++k) least[k] = INFINITE<A>;
  for (int64_t first = 0; first < n; first += CHUNK) {
    for (int k = 0; k < LANES; ++k) weight[k] = slope[k] = count[k] = 0;
    const int64_t last = smaller(first + CHUNK, n);
    for (int64_t at = first; at < last; at += LANES)
      for (int k = 0; k < LANES; ++k) {
        const Terms<A> terms = form.terms(z[at + k]);
        const bool off = is_off(terms.room);
        weight[k] += terms.weight;
        slope[k] += terms.slope;
        count[k] += off ? A(0) : A(1);
        least[k] = smaller(least[k], off ? INFINITE<A> : terms.room);
      }
    sums.weight += sum_of(weight);
    sums.slope += sum_of(slope);
    sums.count += sum_of(count);
  }
  sums.least = reduce<LANES>(load<LANES>(least), [](auto a, auto b) { return a < b ? a : b; });
  return sums;
}

// Copies the z that are not off; the number of them, padded.
template <class A, class Form>
int64_t keep_on(const Form& form, const A* z, int64_t n, A* to) {
  int64_t kept = 0;
  for (int64_t k = 0; k < n; ++k)
    if (!is_off(form.terms(z[k]).room)) to[kept++] = z[k];
  const int64_t size = padded(kept);
  while (kept < size) to[kept++] = -INFINITE<A>;
  return size;
}

// z [n] becomes weights. `spare` [n] is for the z that are still in question.
template <class A, class Form>
void weigh(Form form, A* z, int64_t n, A* spare) {
  const A* active = z;
  int64_t size = n;
  A low = form.low(n), high = 1, x = 1;
  Sums<A> sums;
  for (int step = 1; step <= MOST_STEPS; ++step) {
    sums = add_up(form, active, size);
    const Settled settled = form.settle(sums);
    if (settled.known) {
      form = form.moved(settled.move);
      break;
    }
    if (form.excess(sums) > 0) {
      high = x;
      if (size > 2 * LANES && 2 * sums.count < size) {
        size = keep_on(form, active, size, spare);
        active = spare;
      }
    } else {
      low = x;
    }
    A next = A(form.next(sums));
    if (!(next > low && next < high) || step % HALVING == 0) next = low + (high - low) / 2;
    // The bracket has no number left between its ends.
    if (!(next > low && next < high)) break;
    x = next;
    form = form.at(x);
  }
  const A scale = form.scale(sums);
  for (int64_t at = 0; at < n; at += LANES)
    for (int k = 0; k < LANES; ++k) z[at + k] = form.terms(z[at + k]).weight * scale;
}

template <class A>
void weigh_row(double power, A* z, int64_t n, A* spare) {
  if (power == 1)
    weigh(Sparsemax<A>(), z, n, spare);
  else if (power == 0.5)
    weigh(Entmax15<A>(), z, n, spare);
  else
    weigh(Entmax<A>(power), z, n, spare);
}

// s [n] becomes z, at most 0. Whether it is not all masked.
template <class A>
bool take_off_highest(double power, A* s, int64_t n) {
  A top[LANES], live[LANES];
  for (int k = 0; k < LANES; ++k) top[k] = -INFINITE<A>, live[k] = 0;
  for (int64_t at = 0; at < n; at += LANES)
    for (int k = 0; k < LANES; ++k) {
      // A score of +inf counts as the largest number.
      A& score = s[at + k];
      score = score > LARGEST<A> ? LARGEST<A> : score;
      top[k] = score > top[k] ? score : top[k];
      live[k] = score == -INFINITE<A> ? live[k] : A(1);
    }
  if (sum_of(live) == 0) return false;
  const A most = highest(top), factor = A(power);
  for (int64_t at = 0; at < n; at += LANES)
    for (int k = 0; k < LANES; ++k) s[at + k] = factor * (s[at + k] - most);
  return true;
}

template <class A>
void entmax_forward(const Call& call) {
  const Edges edges(call.by_target, call.index);
  const Task<A> task(call);
  const A* alpha = static_cast<const A*>(call.att);
  const int64_t longest = longest_row(edges), room = room_for(longest);
  const Scratch<A> scratch(int(call.threads), room + longest);
  for_rows(call, edges, call.heads * SCORE_WORK, [&](Range rows, int, int thread) {
    A *own = scratch.of(thread), *spare = own + room;
    for (int64_t row = rows.begin; row < rows.end; ++row) {
      const int64_t start = edges.start(row), n = padded(edges.start(row + 1) - start);
      for_heads(call.heads, n, [&](int64_t begin, int64_t end) {
        const Stretches<A> z{own, n};
        for_blocks(edges, row, true, [&](const Block& block) {
          for (int64_t h = begin; h < end; ++h) {
            A* lanes = z.of(h - begin) + (block.first - start);
            gather_lanes(task, block, call.per_edge, h, lanes);
            mask_rest(block, 1, lanes);
          }
        });
        for (int64_t h = begin; h < end; ++h) {
          A* own_z = z.of(h - begin);
          const double power = double(alpha[h]) - 1;
          if (take_off_highest(power, own_z, n))
            weigh_row(power, own_z, n, spare);
          else
            for (int64_t k = 0; k < n; ++k) own_z[k] = 0;
        }
        for_blocks(edges, row, true, [&](const Block& block) {
          for (int64_t h = begin; h < end; ++h)
            scatter_lanes(task, block, z.of(h - begin) + (block.first - start), h, call.weights);
        });
      });
    }
  });
}

// Gradients --------------------------------------------------------------------------------------

// p^(2 - alpha) for p above 0.
template <class A>
A power_of(A p, A exponent) {
  const A log = exponent * log_of(p);
  // No power overflows: it would only where p is below what tells a weight from 0.
  const A limit = A(std::numeric_limits<A>::max_exponent10 * 2);
  return log <= 0 ? exp_negative(log) : 1 / exp_negative(-smaller(log, limit));
}

// One head's weights and their gradient along a row; s is p^(2 - alpha), 0 where p is.
template <class A>
struct Stretch {
  const A* p;
  A *grad, *s;
  int64_t n;

  template <class Power>
  void fill(const Power& power) {
    for (int64_t at = 0; at < n; at += LANES)
      for (int k = 0; k < LANES; ++k) {
        const bool off = is_off(p[at + k]);
        const A share = power(off ? A(1) : p[at + k]);
        s[at + k] = off ? A(0) : share;
      }
  }
  void fill_shares(double power) {
    if (power == 1)
      fill([](A x) { return x == x ? A(1) : x; });
    else if (power == 0.5)
      fill([](A x) { return A(std::sqrt(x)); });
    else
      fill([exponent = A(1 - power)](A x) { return power_of(x, exponent); });
  }

  // The sum of term(k) over the row, as exact for a hub as for others.
  template <class Term>
  double sum(const Term& term) const {
    double total = 0;
    for (int64_t first = 0; first < n; first += CHUNK) {
      A lanes[LANES] = {};
      const int64_t last = smaller(first + CHUNK, n);
      for (int64_t at = first; at < last; at += LANES)
        for (int k = 0; k < LANES; ++k) lanes[k] += term(at + k);
      total += sum_of(lanes);
    }
    return total;
  }

  // grad becomes grad less its mean, weighted by s.
  void center() {
    const double whole = sum([&](int64_t k) { return s[k]; });
    const double part = sum([&](int64_t k) { return s[k] * grad[k]; });
    const A mean = A(whole == 0 ? 0 : part / whole);
    for (int64_t k = 0; k < n; ++k) grad[k] -= mean;
  }

  // Correia et al. 2019, "Adaptively Sparse Transformers", prop. 1, with the centered gradient. Its
  // sum with s is 0: any multiple of s may be taken from p, and a good one keeps p / (alpha - 1)
  // and p log p from canceling near alpha = 1. With q the largest p and l = log(p / q),
  // s q^(alpha - 1) = p exp((1 - alpha) l).
  double pull_alpha(double power) const {
    A lanes[LANES] = {};
    for (int64_t at = 0; at < n; at += LANES)
      for (int k = 0; k < LANES; ++k) lanes[k] = larger(lanes[k], p[at + k]);
    // 1 where all are masked.
    const A most = is_off(highest(lanes)) ? A(1) : highest(lanes), log_most = log_of(most);
    const A factor = A(1 / power) - log_most, scale = A(std::pow(double(most), power));
    return 1 / power * sum([&](int64_t k) {
      const A log = is_off(p[k]) ? A(0) : log_of(p[k]) - log_most;
      return grad[k] * (s[k] * scale * exp_less_one(A(power) * log) * factor - p[k] * log);
    });
  }

  // Peters et al. 2019, eq. 14: the gradient of the scores, in place of s.
  void pull_scores() {
    for (int64_t k = 0; k < n; ++k) s[k] *= grad[k];
  }
};

// In the parts' order, whichever thread computed them.
template <class A>
void add_parts(const Call& call, const double* parts) {
  A* to = static_cast<A*>(call.grad_att);
  for (int64_t h = 0; to && h < call.heads; ++h) {
    double sum = 0;
    for (int64_t part = 0; part < MOST_PARTS; ++part) sum += parts[part * call.heads + h];
    to[h] = A(sum);
  }
}

template <class A>
void entmax_backward(const Call& call) {
  const Edges edges(call.by_target, call.index);
  const Task<A> task(call);
  const A* alpha = static_cast<const A*>(call.att);
  const int64_t room = room_for(longest_row(edges));
  const Scratch<A> scratch(int(call.threads), 3 * room);
  const Buffer<double> grad_alpha(MOST_PARTS * call.heads);
  std::fill_n(grad_alpha.get(), MOST_PARTS * call.heads, 0.0);
  for_rows(call, edges, call.heads * SCORE_WORK, [&](Range rows, int part, int thread) {
    A* own = scratch.of(thread);
    double* sums = grad_alpha.get() + part * call.heads;
    for (int64_t row = rows.begin; row < rows.end; ++row) {
      const int64_t start = edges.start(row), n = padded(edges.start(row + 1) - start);
      for_heads(call.heads, n, [&](int64_t begin, int64_t end) {
        const Stretches<A> p{own, n}, grad{own + room, n}, s{own + 2 * room, n};
        for_blocks(edges, row, true, [&](const Block& block) {
          for (int64_t h = begin; h < end; ++h) {
            const int64_t at = block.first - start;
            gather_lanes(task, block, call.weights, h, p.of(h - begin) + at);
            gather_lanes(task, block, call.grad_weights, h, grad.of(h - begin) + at);
          }
        });
        for (int64_t h = begin; h < end; ++h) {
          const double power = double(alpha[h]) - 1;
          Stretch<A> stretch{p.of(h - begin), grad.of(h - begin), s.of(h - begin), n};
          stretch.fill_shares(power);
          stretch.center();
          if (call.grad_att) sums[h] += stretch.pull_alpha(power);
          if (call.grad_per_edge) stretch.pull_scores();
        }
        if (!call.grad_per_edge) return;
        for_blocks(edges, row, true, [&](const Block& block) {
          for (int64_t h = begin; h < end; ++h)
            scatter_lanes(task, block, s.of(h - begin) + (block.first - start), h,
                          call.grad_per_edge);
        });
      });
    }
  });
  add_parts<A>(call, grad_alpha.get());
}

}  // namespace

// Scores of 16 bits arrive widened: the backward has nothing but the weights to go by.
void segment_entmax_forward(const Call& call) {
  call.dtype == FLOAT64 ? entmax_forward<double>(call) : entmax_forward<float>(call);
}
void segment_entmax_backward(const Call& call) {
  call.dtype == FLOAT64 ? entmax_backward<double>(call) : entmax_backward<float>(call);
}

}  // namespace gat::GAT_ISA
