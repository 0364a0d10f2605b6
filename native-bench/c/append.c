/*
 * The least that durable groups cost: each is one write behind the last and one fdatasync, in a file whose blocks were
 * written before, so that a flush has no metadata to write.
 *
 *   append GROUPS FILE SECONDS
 *
 * Blocks are groups. They are appended over and over; at the end the bytes are read back and compared.
 */
#include "blocks.h"
#include "clock.h"

#define FILE_BYTES (64ull << 20)
#define MOST_SAMPLES 1000000

static int by_value(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return x < y ? -1 : x > y;
}

static int prepare(const char *path) {
  int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
  if (fd < 0) fail(path);
  unsigned char *zeros = calloc(1, 1 << 20);
  for (uint64_t at = 0; at < FILE_BYTES; at += 1 << 20) {
    if (pwrite(fd, zeros, 1 << 20, (off_t)at) != 1 << 20) fail("pwrite");
  }
  if (fsync(fd)) fail("fsync");
  free(zeros);
  return fd;
}

int main(int argc, char **argv) {
  if (argc != 4) {
    fputs("usage: append GROUPS FILE SECONDS\n", stderr);
    return 2;
  }
  struct bytes groups = read_file(argv[1]);
  int fd = prepare(argv[2]);
  double *samples = malloc(MOST_SAMPLES * sizeof *samples);
  unsigned char *back = malloc(FILE_BYTES);
  if (!samples || !back) fail("memory");

  uint64_t at = 0, bytes = 0;
  size_t count = 0;
  double start = seconds_now(), end = start + atof(argv[3]);
  for (size_t offset = 0; seconds_now() < end && count < MOST_SAMPLES;) {
    struct bytes group = next_block(groups, &offset);
    if (at + group.length > FILE_BYTES) at = 0;
    double began = seconds_now();
    if (pwrite(fd, group.at, group.length, (off_t)at) != (ssize_t)group.length || fdatasync(fd)) fail("append");
    samples[count++] = seconds_now() - began;
    if (pread(fd, back, group.length, (off_t)at) != (ssize_t)group.length || memcmp(back, group.at, group.length)) {
      fputs("What was read is not what was written.\n", stderr);
      return 1;
    }
    at += group.length;
    bytes += group.length;
    if (offset == groups.length) offset = 0;
  }
  double spent = 0;
  for (size_t i = 0; i < count; i++) spent += samples[i];
  qsort(samples, count, sizeof *samples, by_value);
  printf("{\"groups\":%zu,\"bytes\":%lu,\"seconds\":%.6f,\"p50\":%.6f,\"p99\":%.6f}\n", count, bytes, spent,
         samples[count / 2], samples[count * 99 / 100]);
  return 0;
}
