/*
 * Files of bytes that the script made for both sides: `u32 length | bytes`, little-endian, one block after another.
 */
#pragma once
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

struct bytes {
  unsigned char *at;
  size_t length;
};

static inline void fail(const char *what) {
  perror(what);
  exit(1);
}

/* A whole file in memory, private and writable, with 64 readable bytes behind its end. */
static inline struct bytes read_file(const char *path) {
  int file = open(path, O_RDONLY);
  struct stat info;
  if (file < 0 || fstat(file, &info)) fail(path);
  struct bytes all = {calloc(1, (size_t)info.st_size + 64), (size_t)info.st_size};
  if (!all.at) fail("memory");
  for (size_t done = 0; done < all.length;) {
    ssize_t got = read(file, all.at + done, all.length - done);
    if (got <= 0) fail(path);
    done += (size_t)got;
  }
  close(file);
  return all;
}

static inline uint32_t read_u32(const unsigned char *at) {
  uint32_t value;
  memcpy(&value, at, 4);
  return value;
}

static inline uint64_t read_u64(const unsigned char *at) {
  uint64_t value;
  memcpy(&value, at, 8);
  return value;
}

/* The block at `*offset`, which then is that of the next one. */
static inline struct bytes next_block(struct bytes file, size_t *offset) {
  struct bytes block = {file.at + *offset + 4, read_u32(file.at + *offset)};
  *offset += 4 + block.length;
  if (*offset > file.length) {
    fputs("A block ends behind its file.\n", stderr);
    exit(1);
  }
  return block;
}
