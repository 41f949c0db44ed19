// Energies and gradient of a tabulated MACE (tabulated.py) in one pass over pairs per message sum, on the CPU.
//
// Each atom sums the messages it receives, so that nothing is written by two threads and results do not depend on the
// number of threads. The gradient is analytic: phases C and D are the derivatives of B and A. Plain C interface.

#include <cmath>
#include <condition_variable>
#include <cstdint>
#include <cstring>
#include <future>
#include <mutex>
#include <new>
#include <system_error>
#include <thread>
#include <vector>

namespace {

// Given by the build: channels and width of the last readout, both filled up with zeros to multiples of 16.
constexpr int C = CHANNELS, W = WIDTH;

template <class T>
struct Problem {
    int64_t atoms, pairs, elements, knots, cells, threads;
    const int64_t *row, *i, *j;                // [atoms]; [pairs]
    const T* vectors;                          // [pairs, 3] from i to j
    const int64_t* pair_class;                 // [elements, elements]
    const T* cutoffs;                          // [classes]
    const T *interval_start, *interval_width;  // [knots - 1], relative to the cutoff
    const int64_t* cell;                       // [cells]
    const T *first, *second;                   // [classes, knots, 3, 2 C]
    // of each element: what it sends, and matrices [in, out] with their transposes
    const T *sent, *linear;                           // [C]
    const T *up, *up_vectors, *hidden_1, *hidden_2;   // [C, C]; [C, C]; [C, W]; [2 C, W]
    const T *up_t, *up_vectors_t, *hidden_1_t, *hidden_2_t;
    const T *last, *shift;                            // [W]; []
    T *energies, *gradient, *forces;                  // [atoms]; [pairs, 3]; [atoms, 3]
};

// 64 bytes of numbers, which need not be aligned in memory.
template <class T>
struct Vector {
    static constexpr int lanes = 64 / int(sizeof(T));
    typedef T type __attribute__((vector_size(64), aligned(alignof(T)), may_alias));
};

template <class T>
inline T sum_of(const typename Vector<T>::type& v) {
    T lanes[Vector<T>::lanes];
    std::memcpy(lanes, &v, 64);
    for (int half = Vector<T>::lanes / 2; half; half /= 2)
        for (int k = 0; k < half; ++k) lanes[k] += lanes[k + half];
    return lanes[0];
}

struct Edge {  // another atom, and the pair: positive if it is (this atom, the other)
    int32_t other, pair;
    int32_t sign;
};

template <class T>
struct Pair {  // unit vector from i to j, inverse distance, place in the interval and its length
    T n[3], inverse, t, h;
    int64_t offset;  // of the interval in the tables
};

class Barrier {
  public:
    int count = 1;

    void wait() {
        if (count == 1) return;
        std::unique_lock<std::mutex> lock(mutex_);
        const int64_t phase = phase_;
        if (++waiting_ == count) {
            waiting_ = 0;
            ++phase_;
            all_.notify_all();
        } else {
            all_.wait(lock, [&] { return phase_ != phase; });
        }
    }

  private:
    std::mutex mutex_;
    std::condition_variable all_;
    int waiting_ = 0;
    int64_t phase_ = 0;
};

// Weights of value, slope and curvature at both ends of an interval of length h, at its fraction t.
template <class T>
inline void hermite(T t, T h, T* b) {
    const T t2 = t * t, t3 = t2 * t, t4 = t3 * t, t5 = t4 * t;
    b[3] = 10 * t3 - 15 * t4 + 6 * t5;
    b[0] = 1 - b[3];
    b[1] = h * (t - 6 * t3 + 8 * t4 - 3 * t5);
    b[2] = h * h * (T(0.5) * t2 - T(1.5) * t3 + T(1.5) * t4 - T(0.5) * t5);
    b[4] = h * (-4 * t3 + 7 * t4 - 3 * t5);
    b[5] = h * h * (T(0.5) * t3 - t4 + T(0.5) * t5);
}

template <class T>
inline void hermite_slope(T t, T h, T* b) {
    const T t2 = t * t, t3 = t2 * t, t4 = t3 * t;
    b[3] = (30 * t2 - 60 * t3 + 30 * t4) / h;
    b[0] = -b[3];
    b[1] = 1 - 18 * t2 + 32 * t3 - 15 * t4;
    b[2] = h * (t - T(4.5) * t2 + 6 * t3 - T(2.5) * t4);
    b[4] = -12 * t2 + 28 * t3 - 15 * t4;
    b[5] = h * (T(1.5) * t2 - 4 * t3 + T(2.5) * t4);
}

template <class T>
class Evaluation {
    using V = typename Vector<T>::type;
    static constexpr int L = Vector<T>::lanes, N = C / L, M = W / L;

  public:
    explicit Evaluation(const Problem<T>& problem)
        : p(problem), start(p.atoms + 1), edges(2 * p.pairs), pair(p.pairs), up(p.atoms * C),
          up_vectors(3 * p.atoms * C), hidden(p.atoms * W), pull(2 * p.atoms * C), first(p.atoms * C),
          first_vectors(3 * p.atoms * C), half(6 * p.pairs) {}

    void run() {
        sort_edges();
        int threads = 1;
        std::vector<int64_t> bounds;
        Barrier barrier;
        auto work = [&](int k) {
            const int64_t from = bounds[k], to = bounds[k + 1];
            geometry(p.pairs * k / threads, p.pairs * (k + 1) / threads);
            barrier.wait();
            for (int64_t a = from; a < to; ++a) first_messages(a);
            barrier.wait();
            for (int64_t a = from; a < to; ++a) second_messages(a);
            barrier.wait();
            for (int64_t a = from; a < to; ++a) second_gradient(a);
            barrier.wait();
            for (int64_t a = from; a < to; ++a) first_gradient(a);
            barrier.wait();
            for (int64_t a = from; a < to; ++a) sum_forces(a);
        };
        std::vector<std::thread> others;
        others.reserve(p.threads);
        bounds.reserve(p.threads + 1);  // nothing is allocated once threads wait
        std::promise<void> ready;
        std::shared_future<void> go(ready.get_future());
        for (int k = 1; k < p.threads; ++k) {
            try {
                others.emplace_back([&work, k, go] { go.wait(), work(k); });
            } catch (...) {  // the system gives no more threads, or no memory for one
                break;
            }
        }
        threads = barrier.count = int(others.size()) + 1;
        bounds.assign(threads + 1, p.atoms);
        for (int64_t k = 0, a = 0; k < threads; ++k) {  // the same number of atoms and edges for each
            const double share = double(2 * p.pairs + p.atoms) * double(k) / threads;
            while (a < p.atoms && double(start[a] + a) < share) ++a;
            bounds[k] = a;
        }
        ready.set_value();
        work(0);
        for (auto& thread : others) thread.join();
    }

  private:
    const Problem<T>& p;
    std::vector<int64_t> start;  // edges of atom a: start[a] to start[a + 1]
    std::vector<Edge> edges;
    std::vector<Pair<T>> pair;
    // per atom: what it sends in layer 2, its inputs of the hidden layer, and derivatives of the energy with respect to
    // its sums of messages in layer 2 and 1
    std::vector<T> up, up_vectors, hidden, pull, first, first_vectors;
    std::vector<T> half;  // dE/dr_ij of the messages to j, and to i

    static inline const V* at(const T* values) { return reinterpret_cast<const V*>(values); }
    static inline V* at(T* values) { return reinterpret_cast<V*>(values); }

    void sort_edges() {
        std::vector<int64_t> place(p.atoms + 1, 0);
        for (int64_t k = 0; k < p.pairs; ++k) ++place[p.i[k]], ++place[p.j[k]];
        int64_t sum = 0;
        for (int64_t a = 0; a <= p.atoms; ++a) {
            const int64_t count = place[a];
            start[a] = place[a] = sum;
            sum += count;
        }
        for (int64_t k = 0; k < p.pairs; ++k) {
            edges[place[p.i[k]]++] = {int32_t(p.j[k]), int32_t(k), 1};
            edges[place[p.j[k]]++] = {int32_t(p.i[k]), int32_t(k), -1};
        }
    }

    void geometry(int64_t from, int64_t to) {
        for (int64_t k = from; k < to; ++k) {
            const T* v = p.vectors + 3 * k;
            Pair<T>& one = pair[k];
            const T r = std::sqrt(v[0] * v[0] + v[1] * v[1] + v[2] * v[2]);
            one.inverse = 1 / r;
            for (int x = 0; x < 3; ++x) one.n[x] = v[x] / r;
            const int64_t c = p.pair_class[p.row[p.i[k]] * p.elements + p.row[p.j[k]]];
            const T x = r / p.cutoffs[c], place = x * T(p.cells), most = T(p.cells - 1);
            const T cell = place > 0 ? (place < most ? place : most) : T(0);  // NaN: the first
            const int64_t interval = p.cell[int64_t(cell)];
            one.t = (x - p.interval_start[interval]) / p.interval_width[interval];
            one.h = p.interval_width[interval] * p.cutoffs[c];
            one.offset = 6 * C * (c * p.knots + interval);
        }
    }

    // Radial function c of the 2 N in units of V, or with the other weights its slope.
    static inline V spline(const V* table, const T* b, int c) {
        return b[0] * table[c] + b[1] * table[2 * N + c] + b[2] * table[4 * N + c] + b[3] * table[6 * N + c] +
               b[4] * table[8 * N + c] + b[5] * table[10 * N + c];
    }

    // out [COLUMNS] += in [rows] @ matrix [rows, COLUMNS], for COUNT vectors at once (out and in one after another)
    template <int COUNT, int COLUMNS>
    static inline void multiply(const T* in, const T* matrix, int rows, T* out) {
        V sum[COUNT][COLUMNS / L] = {};
        for (int k = 0; k < rows; ++k) {
            const V* line = at(matrix + k * COLUMNS);
            for (int x = 0; x < COUNT; ++x)
                for (int c = 0; c < COLUMNS / L; ++c) sum[x][c] += in[x * rows + k] * line[c];
        }
        for (int x = 0; x < COUNT; ++x)
            for (int c = 0; c < COLUMNS / L; ++c) at(out + x * COLUMNS)[c] += sum[x][c];
    }

    // Layer 1: messages to atom a, and all that is linear in them.
    void first_messages(int64_t a) {
        V scalar[N] = {}, vector[3][N] = {};
        for (int64_t e = start[a]; e < start[a + 1]; ++e) {
            const Edge& edge = edges[e];
            const Pair<T>& one = pair[edge.pair];
            const T sign = T(-edge.sign), x = sign * one.n[0], y = sign * one.n[1], z = sign * one.n[2];
            const V *sent = at(p.sent + p.row[edge.other] * C), *table = at(p.first + one.offset);
            T b[6];
            hermite(one.t, one.h, b);
            for (int c = 0; c < N; ++c) {
                scalar[c] += spline(table, b, c) * sent[c];
                const V w = spline(table, b, N + c) * sent[c];
                vector[0][c] += x * w, vector[1][c] += y * w, vector[2][c] += z * w;
            }
        }
        const int64_t element = p.row[a];
        const T* sum = reinterpret_cast<const T*>(scalar);
        multiply<1, C>(sum, p.up + element * C * C, C, &up[a * C]);
        multiply<3, C>(reinterpret_cast<const T*>(vector), p.up_vectors + element * C * C, C, &up_vectors[3 * a * C]);
        multiply<1, W>(sum, p.hidden_1 + element * C * W, C, &hidden[a * W]);
        T energy = *p.shift;
        for (int c = 0; c < C; ++c) energy += sum[c] * p.linear[element * C + c];
        p.energies[a] = energy;
    }

    // Layer 2: messages to atom a, its energy, and the derivatives with respect to its sums of messages.
    void second_messages(int64_t a) {
        V sum[2 * N] = {};
        for (int64_t e = start[a]; e < start[a + 1]; ++e) {
            const Edge& edge = edges[e];
            const Pair<T>& one = pair[edge.pair];
            const T sign = T(-edge.sign), x = sign * one.n[0], y = sign * one.n[1], z = sign * one.n[2];
            const V *s = at(&up[int64_t(edge.other) * C]), *v = at(&up_vectors[int64_t(edge.other) * 3 * C]);
            const V* table = at(p.second + one.offset);
            T b[6];
            hermite(one.t, one.h, b);
            for (int c = 0; c < N; ++c) {
                sum[c] += spline(table, b, c) * s[c];
                sum[N + c] += spline(table, b, N + c) * (x * v[c] + y * v[N + c] + z * v[2 * N + c]);
            }
        }
        const int64_t element = p.row[a];
        T* h = &hidden[a * W];
        multiply<1, W>(reinterpret_cast<const T*>(sum), p.hidden_2 + element * 2 * C * W, 2 * C, h);
        T energy = 0;
        for (int k = 0; k < W; ++k) {
            const T sigma = 1 / (1 + std::exp(-h[k]));
            energy += p.last[k] * h[k] * sigma;
            h[k] = p.last[k] * sigma * (1 + h[k] * (1 - sigma));
        }
        p.energies[a] += energy;
        multiply<1, 2 * C>(h, p.hidden_2_t + element * 2 * C * W, W, &pull[2 * a * C]);
        for (int c = 0; c < C; ++c) first[a * C + c] = p.linear[element * C + c];
        multiply<1, C>(h, p.hidden_1_t + element * C * W, W, &first[a * C]);
    }

    // Derivatives of layer 2 by what atom a sends, and by the vectors to the receivers.
    void second_gradient(int64_t a) {
        V scalar[N] = {}, vector[3][N] = {};
        const V *s = at(&up[a * C]), *v = at(&up_vectors[3 * a * C]);
        for (int64_t e = start[a]; e < start[a + 1]; ++e) {
            const Edge& edge = edges[e];
            const Pair<T>& one = pair[edge.pair];
            const T sign = T(edge.sign), x = sign * one.n[0], y = sign * one.n[1], z = sign * one.n[2];
            const V *g = at(&pull[2 * int64_t(edge.other) * C]), *table = at(p.second + one.offset);
            T b[6], d[6];
            hermite(one.t, one.h, b);
            hermite_slope(one.t, one.h, d);
            V radial = {}, gx = {}, gy = {}, gz = {};
            for (int c = 0; c < N; ++c) {
                scalar[c] += spline(table, b, c) * g[c];
                const V q = spline(table, b, N + c) * g[N + c];
                vector[0][c] += x * q, vector[1][c] += y * q, vector[2][c] += z * q;
                gx += q * v[c], gy += q * v[N + c], gz += q * v[2 * N + c];
                radial += spline(table, d, c) * g[c] * s[c];
                radial += spline(table, d, N + c) * g[N + c] * (x * v[c] + y * v[N + c] + z * v[2 * N + c]);
            }
            store(edge, one, radial, gx, gy, gz, x, y, z, false);
        }
        const int64_t element = p.row[a];
        multiply<1, C>(reinterpret_cast<const T*>(scalar), p.up_t + element * C * C, C, &first[a * C]);
        multiply<3, C>(
            reinterpret_cast<const T*>(vector), p.up_vectors_t + element * C * C, C, &first_vectors[3 * a * C]);
    }

    // Derivatives of layer 1 by the vectors from atom a to the receivers.
    void first_gradient(int64_t a) {
        const V* sent = at(p.sent + p.row[a] * C);
        for (int64_t e = start[a]; e < start[a + 1]; ++e) {
            const Edge& edge = edges[e];
            const Pair<T>& one = pair[edge.pair];
            const T sign = T(edge.sign), x = sign * one.n[0], y = sign * one.n[1], z = sign * one.n[2];
            const V *g = at(&first[int64_t(edge.other) * C]), *v = at(&first_vectors[3 * int64_t(edge.other) * C]);
            const V* table = at(p.first + one.offset);
            T b[6], d[6];
            hermite(one.t, one.h, b);
            hermite_slope(one.t, one.h, d);
            V radial = {}, gx = {}, gy = {}, gz = {};
            for (int c = 0; c < N; ++c) {
                const V q = spline(table, b, N + c) * sent[c];
                gx += q * v[c], gy += q * v[N + c], gz += q * v[2 * N + c];
                radial += spline(table, d, c) * g[c] * sent[c];
                radial += spline(table, d, N + c) * sent[c] * (x * v[c] + y * v[N + c] + z * v[2 * N + c]);
            }
            store(edge, one, radial, gx, gy, gz, x, y, z, true);
        }
    }

    // Gradient by the vector from a to the other atom, from its radial part and that by the unit vector (x, y, z).
    inline void store(
        const Edge& edge, const Pair<T>& one, V radial, V to_x, V to_y, V to_z, T x, T y, T z, bool add) {
        const T gx = sum_of<T>(to_x), gy = sum_of<T>(to_y), gz = sum_of<T>(to_z);
        const T along = sum_of<T>(radial) - (gx * x + gy * y + gz * z) * one.inverse;
        const T g[3] = {gx * one.inverse + along * x, gy * one.inverse + along * y, gz * one.inverse + along * z};
        T* out = &half[6 * int64_t(edge.pair) + (edge.sign > 0 ? 0 : 3)];
        for (int k = 0; k < 3; ++k) out[k] = (add ? out[k] : T(0)) + T(edge.sign) * g[k];
    }

    void sum_forces(int64_t a) {
        T sum[3] = {};
        for (int64_t e = start[a]; e < start[a + 1]; ++e) {
            const Edge& edge = edges[e];
            const T* h = &half[6 * int64_t(edge.pair)];
            for (int k = 0; k < 3; ++k) {
                const T g = h[k] + h[k + 3];
                sum[k] += T(edge.sign) * g;
                if (edge.sign > 0) p.gradient[3 * int64_t(edge.pair) + k] = g;
            }
        }
        for (int k = 0; k < 3; ++k) p.forces[3 * a + k] = sum[k];
    }
};

template <class T>
int evaluate(const Problem<T>& problem) {
    if (problem.pairs >= (int64_t(1) << 31) || problem.atoms >= (int64_t(1) << 31)) return 2;
    try {
        Evaluation<T>(problem).run();
    } catch (const std::bad_alloc&) {
        return 1;
    } catch (...) {
        return 3;
    }
    return 0;
}

}  // namespace

extern "C" int fcl_float32(const Problem<float>* problem) { return evaluate(*problem); }
extern "C" int fcl_float64(const Problem<double>* problem) { return evaluate(*problem); }
