// One table of kernels per instruction set. Arguments are checked before they get here: kernels trust them.
#pragma once
#include "call_memory.h"
#include "tensor.h"

namespace salon {

enum class Act : int { none = 0, gelu_tanh, gelu, silu, swiglu, quick_gelu, sigmoid, tanh, geglu, geglu_tanh };
// Of packed pairs: the first half of a weight's rows is the gate.
static inline bool is_glu(Act act) { return act == Act::swiglu || act == Act::geglu || act == Act::geglu_tanh; }
static inline bool is_gate(Act act) { return act == Act::none || act == Act::silu || act == Act::sigmoid || act == Act::tanh; }
enum class Norm : int { layer = 0, rms };

// Segments: segment j covers rows offsets[j] .. offsets[j+1] and belongs to sample owners[j].
struct SegmentView {
  const std::int32_t* offsets = nullptr;
  const std::int32_t* owners = nullptr;
  std::int64_t count = 0;
};

// One low-rank term of a linear: rows begin .. end of x have weight (x down^T) up^T in their sums, before the bias. `up` is
// stored like a Packed of floats, but of each panel p only the inputs first[p] .. last[p], from up + place[p] on: of several
// layers that were packed as one, most panels read the inputs of one.
struct LowRankTerm {
  std::int64_t begin, end;
  const Packed* down;     // [rank, k], dtype of x
  const float* up;
  const std::int64_t* place;  // [panels]
  const std::int32_t *first, *last;  // [panels]
  View hidden;            // f32 [end - begin, rank], written: weight (x down^T)
  float weight;
};

struct LinearArgs {
  View x;                 // [T, k], dtype of w; f32 or bf16 where that is i8
  const Packed* w;
  View out;               // [T, n]; f32 or bf16; with `residual` it is the residual itself
  Act act;
  bool residual;          // out += y, or out += gate * y
  View gate;              // f32 [S, n], data null: none
  const std::int32_t* row_owner;  // [T] row of `gate`, null without gate
  int threads;
  const LowRankTerm* terms = nullptr;
  std::int64_t num_terms = 0;
  CallMemory* memory = nullptr;  // not null where w is i8
};

struct ModulateArgs {
  View x;                 // f32 [T, D]
  View out;               // [T, D]
  View shift, scale;      // f32 [S, D]; shift: data null: 0
  SegmentView segments;
  Norm kind;
  float eps;
  int threads;
  const float* weight;    // [D] or null: 1
};

struct NormArgs {
  View x, out;            // any dtype
  const float* weight;    // [D]
  const float* bias;      // [D] or null
  Norm kind;
  float eps;
  int threads;
};

struct CastArgs {
  View x, out;            // any dtypes, same shape
  Act act;                // is_gate
  int threads;
};

struct GatedArgs {
  View gate, value, out;  // any dtypes, same shape; out = act(gate) * value, and may be one of the two
  Act act;                // is_gate
  int threads;
};

struct AddArgs {
  View x;                 // f32, x += y, or x += gate * y
  View y;                 // any dtype
  const std::int32_t* ranges;  // [2 * count] first and past-last rows
  std::int64_t count;
  int threads;
  View gate;              // f32 [S, D], data null: none
  const std::int32_t* row_owner;  // [T] row of `gate`, null without gate
};

struct QkNormRopeArgs {
  View qkv;               // [T, (heads + 2 * kv_heads) * width], in place
  View plain_q;           // [T, heads * width] or data null
  std::int64_t heads, width;
  const float* q_weight;  // [width] or null
  const float* k_weight;
  View cos, sin;          // f32 [T, width / 2] or data null
  float eps;
  int threads;
  std::int64_t kv_heads;
};

struct AttentionArgs {
  View q, k, v, out;      // [Tq, H*E], [Tkv, G*E], same dtype; adapter terms only where G = H
  std::int64_t heads, kv_heads, width;  // H, G, E
  float scale;            // of the scores; 0: 1 / sqrt(E)
  bool causal;            // row i of a sample sees its keys 0 .. i
  View bias;              // f32 [H, 2R+1], added to the scaled scores by the distance from row to key; data null: none
  const std::int32_t* q_places;  // [q_segments.count] how many rows of its sample stand before each segment
  SegmentView q_segments, kv_segments;
  std::int64_t samples;
  // Key segments of each sample, in order: kv_index[kv_start[s] .. kv_start[s+1]] are segment numbers.
  const std::int32_t* kv_start;
  const std::int32_t* kv_index;
  // Adapter terms of each query segment, in the order given: term_index[term_start[j] .. term_start[j+1]].
  const std::int32_t* term_start;   // [q_segments.count + 1] or null: no adapters at all
  const std::int32_t* term_index;
  const std::int32_t* term_offsets; // [M + 1] into term_rows
  const std::int32_t* term_rows;    // rows of term_keys, term_values
  const float* term_weights;        // [M]
  View term_keys, term_values;      // [R, H*E]
  View term_q;                      // [Tq, H*E] or data null: use q
  View term_out;                    // [Tq, H*E] or data null: add into out
  CallMemory* memory;
  int threads;
};

struct EmbedArgs {
  const std::int32_t* const* indices;  // [tables][T]
  const View* tables;
  std::int64_t count;     // tables
  View out;               // f32 [T, D]
  int threads;
};

struct SolverArgs {
  View latents;           // f32 [T, C], written
  View velocity;          // f32 [Tv, C]
  View base, previous, keep;  // f32 [T, C] or data null
  SegmentView segments;
  // The guided velocity of image j: v = o; v += weights[k] (v_k - o) for k of term_offsets[j] .. term_offsets[j+1].
  const std::int32_t *origins, *term_offsets, *terms;  // [N] rows of velocity, [N+1], [M] rows of velocity
  const float *weights;   // [M]
  const float *a, *b;     // [N]
  int threads;
};

struct BlendArgs {
  View x;                 // f32 [T, C], written
  View y, z;              // f32 [T, C]
  View weights;           // f32 [T, 1]
  SegmentView segments;
  const float *a, *b;
  int threads;
};

struct ConvArgs {
  View x, out;            // [P, I], [P', O]
  const Packed* w;
  const void* parities;   // with upsample 2: PackedWeight::parities of w
  View residual;          // [P', O] or data null
  const std::int32_t* grids;   // [images, 2] height, width of the INPUT
  std::int64_t images;
  int upsample;           // 1, or 2: nearest 2x before the convolution
  int stride;             // 1, or 2: padding is then below and right only, unless `symmetric`
  bool wrap;              // past a side lies the opposite one, not zeros; stride 1
  int threads;
  bool symmetric;         // with stride 2: padding above and left too
};

struct GroupNormArgs {
  View x, out;            // [P, C]
  const float *weight, *bias;  // [C]
  const std::int32_t* grids;
  std::int64_t images, groups;
  float eps;
  bool silu;
  CallMemory* memory;
  int threads;
};

struct Table {
  const char* name;
  bool bf16;              // has a bf16 dot product
  void (*linear)(const LinearArgs&);
  void (*modulate)(const ModulateArgs&);
  void (*norm)(const NormArgs&);
  void (*cast)(const CastArgs&);
  void (*add)(const AddArgs&);
  void (*gated)(const GatedArgs&);
  void (*qk_norm_rope)(const QkNormRopeArgs&);
  void (*attention)(const AttentionArgs&);
  void (*embed)(const EmbedArgs&);
  void (*solver_step)(const SolverArgs&);
  void (*blend)(const BlendArgs&);
  void (*conv2d)(const ConvArgs&);
  void (*group_norm_silu)(const GroupNormArgs&);
  double (*peak)(double seconds, bool bf16);  // FLOP/s of one core's dot products, register to register
};

// Declares the kernels of one instruction set; `ops/table.cpp` is compiled once for each and defines the table.
#define SALON_DECLARE_KERNELS                     \
  void linear(const LinearArgs&);                 \
  void modulate(const ModulateArgs&);             \
  void norm(const NormArgs&);                     \
  void cast(const CastArgs&);                     \
  void add(const AddArgs&);                       \
  void gated(const GatedArgs&);                   \
  void qk_norm_rope(const QkNormRopeArgs&);       \
  void attention(const AttentionArgs&);           \
  void embed(const EmbedArgs&);                   \
  void solver_step(const SolverArgs&);            \
  void blend(const BlendArgs&);                   \
  void conv2d(const ConvArgs&);                   \
  void group_norm_silu(const GroupNormArgs&);     \
  double peak(double, bool);

namespace portable { extern const Table table; }
namespace avx2 { extern const Table table; }
namespace avx512 { extern const Table table; }
namespace avx512_bf16 { extern const Table table; }
namespace amx_bf16 { extern const Table table; }
namespace amx_model { extern const Table table; }

}  // namespace salon
