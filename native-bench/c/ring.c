/*
 * Messages through a ring of bytes in memory, from one thread to one other that is awake.
 *
 *   ring MESSAGE_BYTES MESSAGES CAPACITY
 *
 * The reader copies what it gets, as ours does. Every message has the bytes 0, 1, 2 …, and the reader's hash of all is said.
 */
#include "blocks.h"
#include "clock.h"
#include "fnv.h"
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

static _Alignas(64) _Atomic uint32_t written;
static _Alignas(64) _Atomic uint32_t taken;
static unsigned char *ring;
static uint32_t capacity, message_bytes;
static uint64_t total;
static uint32_t hash = FNV_START;
static int is_hashing;

static void *read_all(void *unused) {
  (void)unused;
  unsigned char *into = malloc(capacity);
  if (!into) fail("memory");
  uint32_t at = 0;
  for (uint64_t left = total; left;) {
    uint32_t count = atomic_load_explicit(&written, memory_order_acquire) - at;
    if (!count) {
      sched_yield();
      continue;
    }
    uint32_t start = at & (capacity - 1), head = count < capacity - start ? count : capacity - start;
    memcpy(into, ring + start, head);
    memcpy(into + head, ring, count - head);
    at += count;
    atomic_store_explicit(&taken, at, memory_order_release);
    if (is_hashing) hash = fnv(hash, into, count);
    left -= count;
  }
  free(into);
  return NULL;
}

int main(int argc, char **argv) {
  if (argc != 4) {
    fputs("usage: ring MESSAGE_BYTES MESSAGES CAPACITY\n", stderr);
    return 2;
  }
  message_bytes = (uint32_t)atoi(argv[1]);
  uint64_t messages = (uint64_t)atoll(argv[2]);
  capacity = (uint32_t)atoi(argv[3]);
  total = messages * message_bytes;
  is_hashing = total < (4 << 20);
  ring = calloc(1, capacity);
  unsigned char *message = malloc(message_bytes);
  if (!ring || !message) fail("memory");
  for (uint32_t i = 0; i < message_bytes; i++) message[i] = (unsigned char)i;

  pthread_t reader;
  if (pthread_create(&reader, NULL, read_all, NULL)) fail("thread");
  double start = seconds_now();
  uint32_t at = 0;
  for (uint64_t i = 0; i < messages; i++) {
    while (capacity - (at - atomic_load_explicit(&taken, memory_order_acquire)) < message_bytes) sched_yield();
    uint32_t offset = at & (capacity - 1), head = message_bytes < capacity - offset ? message_bytes : capacity - offset;
    memcpy(ring + offset, message, head);
    memcpy(ring, message + head, message_bytes - head);
    at += message_bytes;
    atomic_store_explicit(&written, at, memory_order_release);
  }
  pthread_join(reader, NULL);
  printf("{\"seconds\":%.6f,\"operations\":%lu,\"hash\":%u}\n", seconds_now() - start, messages, hash);
  return 0;
}
