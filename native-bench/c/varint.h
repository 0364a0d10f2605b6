#pragma once
#include <stdint.h>

/* Reads a varint and moves on; the bytes are known to be well-formed. */
static inline uint64_t varint(const unsigned char **at) {
  const unsigned char *p = *at;
  uint64_t value = *p++;
  if (value >= 0x80) {
    value &= 0x7f;
    for (unsigned shift = 7;; shift += 7) {
      uint64_t byte = *p++;
      value |= (byte & 0x7f) << shift;
      if (byte < 0x80) break;
    }
  }
  *at = p;
  return value;
}

static inline unsigned char *write_varint(unsigned char *p, uint64_t value) {
  for (; value >= 0x80; value >>= 7) *p++ = (unsigned char)(value | 0x80);
  *p++ = (unsigned char)value;
  return p;
}
