/*
 * The kernel's work on the same bodies: decode, hash, find, add with a check for overflow.
 *
 *   kernel INSERT MEASURED naive|prefetched siphash|cheap ROUNDS
 *
 * Blocks are bodies of ADD (protocol.md) without a sequence. Those of INSERT make the counters; those of MEASURED are
 * applied ROUNDS times. Left out is what makes the real kernel more than this: malformed input, bounds, operation ids,
 * atomic batches, growth, answers.
 *
 *   table   open addressing, half full at most    | u32 tag | u32 slot | u32 name | u32 length |
 *   slots                                         | i64 value | u32 name | u16 generation | u16 flags |
 */
#include "blocks.h"
#include "clock.h"
#include "fnv.h"
#include "varint.h"

#define STAGE 64

struct entry {
  uint32_t tag, slot, name, length;
};

struct slot {
  int64_t value;
  uint32_t name;
  uint16_t generation, flags;
};

static struct entry *table;
static uint64_t mask;
static struct slot *slots;
static uint32_t slot_count;
static unsigned char *names;
static uint32_t names_end = 1;
static int is_cheap;

static inline uint64_t rotate(uint64_t x, int bits) { return (x << bits) | (x >> (64 - bits)); }

#define SIP_ROUND                                                                                                      \
  do {                                                                                                                 \
    v0 += v1, v1 = rotate(v1, 13), v1 ^= v0, v0 = rotate(v0, 32);                                                      \
    v2 += v3, v3 = rotate(v3, 16), v3 ^= v2;                                                                           \
    v0 += v3, v3 = rotate(v3, 21), v3 ^= v0;                                                                           \
    v2 += v1, v1 = rotate(v1, 17), v1 ^= v2, v2 = rotate(v2, 32);                                                      \
  } while (0)

/* SipHash-1-3: what the kernel uses, so that nobody outside can aim names at one bucket. */
static inline uint64_t sip_hash(const unsigned char *p, uint32_t length) {
  const uint64_t key0 = 0x0706050403020100, key1 = 0x0f0e0d0c0b0a0908;
  uint64_t v0 = key0 ^ 0x736f6d6570736575, v1 = key1 ^ 0x646f72616e646f6d;
  uint64_t v2 = key0 ^ 0x6c7967656e657261, v3 = key1 ^ 0x7465646279746573;
  uint32_t rest = length & 7;
  const unsigned char *end = p + length - rest;
  for (; p < end; p += 8) {
    uint64_t m = read_u64(p);
    v3 ^= m;
    SIP_ROUND;
    v0 ^= m;
  }
  uint64_t last = (uint64_t)length << 56 | (rest ? read_u64(p) & ((1ull << (rest * 8)) - 1) : 0);
  v3 ^= last;
  SIP_ROUND;
  v0 ^= last;
  v2 ^= 0xff;
  SIP_ROUND;
  SIP_ROUND;
  SIP_ROUND;
  return v0 ^ v1 ^ v2 ^ v3;
}

/* A hash without a key, as a system would take that trusts its clients. */
static inline uint64_t cheap_hash(const unsigned char *p, uint32_t length) {
  uint64_t h = 0x9e3779b185ebca87 ^ length;
  uint32_t rest = length & 7;
  const unsigned char *end = p + length - rest;
  for (; p < end; p += 8) {
    h = (h ^ read_u64(p)) * 0x9fb21c651e98df25;
    h ^= h >> 32;
  }
  if (rest) h = (h ^ (read_u64(p) & ((1ull << (rest * 8)) - 1))) * 0x9fb21c651e98df25;
  h ^= h >> 29;
  h *= 0xc2b2ae3d27d4eb4f;
  return h ^ h >> 32;
}

static inline uint64_t hash_of(const unsigned char *p, uint32_t length) {
  return is_cheap ? cheap_hash(p, length) : sip_hash(p, length);
}

static inline int equals(const unsigned char *a, const unsigned char *b, uint32_t length) {
  if (length < 8) return memcmp(a, b, length) == 0;
  uint32_t last = length - 8;
  for (uint32_t i = 0; i < last; i += 8) {
    if (read_u64(a + i) != read_u64(b + i)) return 0;
  }
  return read_u64(a + last) == read_u64(b + last);
}

/* The slot of a name, which is taken if it is not there. */
static inline uint32_t find(uint64_t hash, const unsigned char *name, uint32_t length) {
  uint32_t tag = (uint32_t)(hash >> 32) | 1;
  for (uint64_t i = hash & mask;; i = (i + 1) & mask) {
    struct entry *entry = &table[i];
    if (entry->tag == tag && entry->length == length && equals(names + entry->name, name, length)) return entry->slot;
    if (entry->tag) continue;
    *entry = (struct entry){tag, slot_count, names_end, length};
    slots[slot_count] = (struct slot){0, names_end, 0, 0};
    memcpy(names + names_end, name, length);
    names_end += length;
    return slot_count++;
  }
}

static inline void add(uint32_t slot, uint64_t zigzag) {
  int64_t delta = (int64_t)(zigzag >> 1) ^ -(int64_t)(zigzag & 1);
  if (__builtin_add_overflow(slots[slot].value, delta, &slots[slot].value)) {
    fputs("overflow\n", stderr);
    exit(1);
  }
}

static inline uint32_t slot_of_id(uint64_t head, uint64_t generation) {
  uint32_t slot = (uint32_t)(head >> 2);
  if (slot >= slot_count || slots[slot].generation != generation) {
    fputs("unknown id\n", stderr);
    exit(1);
  }
  return slot;
}

static uint64_t apply_naive(struct bytes body) {
  const unsigned char *p = body.at;
  uint64_t count = varint(&p);
  for (uint64_t i = 0; i < count; i++) {
    uint64_t head = varint(&p);
    uint32_t slot;
    if (head & 1) {
      slot = slot_of_id(head, varint(&p));
    } else {
      uint32_t length = (uint32_t)(head >> 2);
      slot = find(hash_of(p, length), p, length);
      p += length;
    }
    add(slot, varint(&p));
  }
  return count;
}

/* In stages, so that the cache misses of 64 operations overlap: decode and hash, touch entries, touch names, add. */
static uint64_t apply_prefetched(struct bytes body) {
  struct {
    uint64_t hash, delta;
    const unsigned char *name;
    uint32_t length, slot;
    uint64_t generation;
  } stage[STAGE];
  const unsigned char *p = body.at;
  uint64_t count = varint(&p);
  for (uint64_t left = count; left;) {
    uint32_t n = left < STAGE ? (uint32_t)left : STAGE;
    left -= n;
    for (uint32_t i = 0; i < n; i++) {
      uint64_t head = varint(&p);
      if (head & 1) {
        stage[i].length = 0;
        stage[i].slot = (uint32_t)(head >> 2);
        stage[i].generation = varint(&p);
        __builtin_prefetch(&slots[stage[i].slot]);
      } else {
        stage[i].name = p;
        stage[i].length = (uint32_t)(head >> 2);
        stage[i].hash = hash_of(p, stage[i].length);
        __builtin_prefetch(&table[stage[i].hash & mask]);
        p += stage[i].length;
      }
      stage[i].delta = varint(&p);
    }
    for (uint32_t i = 0; i < n; i++) {
      if (!stage[i].length) continue;
      struct entry *entry = &table[stage[i].hash & mask];
      __builtin_prefetch(names + entry->name);
      __builtin_prefetch(&slots[entry->slot]);
    }
    for (uint32_t i = 0; i < n; i++) {
      uint32_t slot = stage[i].length ? find(stage[i].hash, stage[i].name, stage[i].length)
                                      : slot_of_id((uint64_t)stage[i].slot << 2, stage[i].generation);
      add(slot, stage[i].delta);
    }
  }
  return count;
}

static uint64_t apply_all(struct bytes file, uint64_t (*apply)(struct bytes)) {
  uint64_t operations = 0;
  for (size_t offset = 0; offset < file.length;) operations += apply(next_block(file, &offset));
  return operations;
}

int main(int argc, char **argv) {
  if (argc != 6) {
    fputs("usage: kernel INSERT MEASURED naive|prefetched siphash|cheap ROUNDS\n", stderr);
    return 2;
  }
  struct bytes insert = read_file(argv[1]), measured = read_file(argv[2]);
  is_cheap = strcmp(argv[4], "cheap") == 0;
  uint64_t (*apply)(struct bytes) = strcmp(argv[3], "naive") == 0 ? apply_naive : apply_prefetched;
  int rounds = atoi(argv[5]);

  uint64_t counters = 0;
  for (size_t offset = 0; offset < insert.length;) {
    const unsigned char *p = next_block(insert, &offset).at;
    counters += varint(&p);
  }
  uint64_t capacity = 1024;
  while (capacity < counters * 2) capacity *= 2;
  mask = capacity - 1;
  table = calloc(capacity, sizeof *table);
  slots = calloc(counters, sizeof *slots);
  names = calloc(1, insert.length + 64);
  if (!table || !slots || !names) fail("memory");
  apply_all(insert, apply_naive);

  printf("{\"seconds\":[");
  uint64_t operations = 0;
  for (int round = 0; round < rounds; round++) {
    double start = seconds_now();
    operations = apply_all(measured, apply);
    printf("%s%.6f", round ? "," : "", seconds_now() - start);
  }
  uint32_t hash = FNV_START;
  for (uint32_t i = 0; i < slot_count; i++) hash = fnv(hash, &slots[i].value, 8);
  printf("],\"operations\":%lu,\"counters\":%u,\"hash\":%u}\n", operations, slot_count, hash);
  return 0;
}
