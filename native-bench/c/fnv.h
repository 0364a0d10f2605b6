/* FNV-1a, 32 bits (Fowler, Noll, Vo): that both sides made the same. */
#pragma once
#include <stddef.h>
#include <stdint.h>

#define FNV_START 0x811c9dc5u

static inline uint32_t fnv(uint32_t hash, const void *bytes, size_t length) {
  const unsigned char *at = bytes;
  for (size_t i = 0; i < length; i++) hash = (hash ^ at[i]) * 0x01000193u;
  return hash;
}
