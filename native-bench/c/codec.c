/*
 * The work of the codec on the same bytes.
 *
 *   codec cut FRAMES ROUNDS      cuts a stream that comes in chunks of 64 KiB into frames, writes an answer to each
 *   codec encode NAMES ROUNDS    writes operations by name, 1,000 a body; blocks are names
 */
#include "blocks.h"
#include "clock.h"
#include "fnv.h"
#include "varint.h"

#define CHUNK 65536
#define HEADER 12
#define BATCH 1000

static unsigned char *write_answer(unsigned char *out, const unsigned char *frame) {
  uint32_t length = HEADER - 4 + 4;
  memcpy(out, &length, 4);
  out[4] = frame[4] | 0x80;
  out[5] = 0;
  memcpy(out + 6, frame + 6, 6);
  memset(out + HEADER, 0, 4);
  return out + HEADER + 4;
}

/* Chunks are copied in as from a socket: a frame may begin in one and end in the next. */
static uint64_t cut(struct bytes frames, unsigned char *answers, size_t *answered) {
  static unsigned char buffer[CHUNK + (2 << 20)];
  size_t held = 0;
  uint64_t count = 0;
  unsigned char *out = answers;
  for (size_t offset = 0; offset < frames.length; offset += CHUNK) {
    size_t chunk = frames.length - offset < CHUNK ? frames.length - offset : CHUNK;
    memcpy(buffer + held, frames.at + offset, chunk);
    held += chunk;
    size_t at = 0;
    while (held - at >= 4 && held - at >= 4 + (size_t)read_u32(buffer + at)) {
      out = write_answer(out, buffer + at);
      at += 4 + read_u32(buffer + at);
      count++;
    }
    memmove(buffer, buffer + at, held - at);
    held -= at;
  }
  *answered = (size_t)(out - answers);
  return count;
}

static uint64_t encode(struct bytes names, uint64_t total, unsigned char *body, uint32_t *hash, int is_last) {
  uint64_t count = 0;
  for (size_t offset = 0; offset < names.length;) {
    uint64_t batch = total - count < BATCH ? total - count : BATCH;
    unsigned char *out = write_varint(body, batch);
    for (uint64_t i = 0; i < batch; i++, count++) {
      struct bytes name = next_block(names, &offset);
      out = write_varint(out, name.length << 2);
      memcpy(out, name.at, name.length);
      out = write_varint(out + name.length, 2);
    }
    if (is_last) *hash = fnv(*hash, body, (size_t)(out - body));
  }
  return count;
}

int main(int argc, char **argv) {
  if (argc != 4) {
    fputs("usage: codec cut|encode FILE ROUNDS\n", stderr);
    return 2;
  }
  struct bytes file = read_file(argv[2]);
  int is_cut = strcmp(argv[1], "cut") == 0;
  int rounds = atoi(argv[3]);
  unsigned char *out = calloc(1, is_cut ? file.length * 2 + 64 : (size_t)BATCH * 1100);
  if (!out) fail("memory");
  uint64_t count = 0, blocks = 0;
  for (size_t offset = 0; !is_cut && offset < file.length; blocks++) next_block(file, &offset);
  uint32_t hash = FNV_START;
  printf("{\"seconds\":[");
  for (int round = 0; round < rounds; round++) {
    double start = seconds_now();
    size_t answered = 0;
    count = is_cut ? cut(file, out, &answered) : encode(file, blocks, out, &hash, 0);
    printf("%s%.6f", round ? "," : "", seconds_now() - start);
    if (is_cut && round == rounds - 1) hash = fnv(hash, out, answered);
  }
  if (!is_cut) encode(file, blocks, out, &hash, 1);
  printf("],\"operations\":%lu,\"hash\":%u}\n", count, hash);
  return 0;
}
