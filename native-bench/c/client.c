/*
 * A client that costs next to nothing: it sends frames made beforehand and counts the answers.
 *
 *   client SECONDS IN_FLIGHT PORT FRAMES [PORT FRAMES …]
 *
 * Each connection sends a file of its own, over and over: its first frame is HELLO, every other one an ADD with
 * SEQUENCED whose sequence and unanswered are varints of five and two bytes, filled in here, and whose request id is its
 * number in the file.
 * Ends with 1 at the first ERROR.
 */
#include "blocks.h"
#include "clock.h"
#include "varint.h"
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>

#define HEADER 12
#define PREFIX 8 /* sequence, 5 bytes; unanswered, 2; cursor length, 1 */
#define MOST 64
#define MOST_PARTITIONS 1024
#define INPUT (1 << 20)
#define ANSWER_ERROR 255

struct frame {
  size_t offset, end;
  uint32_t operations;
};

struct connection {
  struct bytes file;
  struct frame *frames;
  size_t count, next; /* frame 0 is HELLO */
  size_t written, filled; /* bytes of the file that were written, and that may be */
  uint32_t in_flight;
  uint32_t sequences[MOST_PARTITIONS], unanswered[MOST_PARTITIONS];
  unsigned char *input;
  size_t held;
};

static struct connection connections[MOST];
static struct pollfd polled[MOST];
static uint64_t operations_done, frames_done;

static void prepare(struct connection *c, const char *path) {
  c->file = read_file(path);
  size_t capacity = 1024;
  c->frames = malloc(capacity * sizeof *c->frames);
  for (size_t at = 0; at < c->file.length;) {
    if (c->count == capacity) c->frames = realloc(c->frames, (capacity *= 2) * sizeof *c->frames);
    size_t end = at + 4 + read_u32(c->file.at + at);
    const unsigned char *p = c->file.at + at + HEADER + PREFIX;
    c->frames[c->count] = (struct frame){at, end, c->count == 0 ? 0 : (uint32_t)varint(&p)};
    c->count++;
    at = end;
  }
  c->input = malloc(INPUT);
}

static int connect_to(int port) {
  int fd = socket(AF_INET, SOCK_STREAM, 0), on = 1;
  struct sockaddr_in address = {
      .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons((uint16_t)port)};
  if (connect(fd, (struct sockaddr *)&address, sizeof address)) fail("connect");
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
  return fd;
}

/* Numbers a frame in its partition. The file is this process's own copy. */
static void number(struct connection *c, struct frame *frame) {
  unsigned char *at = c->file.at + frame->offset;
  uint32_t partition = at[6] | at[7] << 8, unanswered = c->unanswered[partition]++;
  uint32_t sequence = ++c->sequences[partition];
  for (int i = 0; i < 4; i++, sequence >>= 7) at[HEADER + i] = (unsigned char)(sequence | 0x80);
  at[HEADER + 4] = (unsigned char)sequence;
  at[HEADER + 5] = (unsigned char)(unanswered | 0x80);
  at[HEADER + 6] = (unsigned char)(unanswered >> 7);
}

/* Sends as many frames as may be in flight. A frame is filled in again only when the whole file was written. */
static void send_frames(struct connection *c, int fd, uint32_t most) {
  if (c->next == c->count && c->written == c->file.length) {
    c->next = 1;
    c->written = c->filled = c->frames[1].offset;
  }
  while (c->in_flight < most && c->next < c->count) {
    struct frame *frame = &c->frames[c->next++];
    number(c, frame);
    c->filled = frame->end;
    c->in_flight++;
  }
  while (c->written < c->filled) {
    ssize_t wrote = write(fd, c->file.at + c->written, c->filled - c->written);
    if (wrote < 0 && errno == EAGAIN) return;
    if (wrote <= 0) fail("write");
    c->written += (size_t)wrote;
  }
}

static void receive(struct connection *c, int fd) {
  ssize_t got = read(fd, c->input + c->held, INPUT - c->held);
  if (got < 0 && errno == EAGAIN) return;
  if (got <= 0) fail("the server closed the connection");
  c->held += (size_t)got;
  size_t at = 0;
  while (c->held - at >= 4 && c->held - at >= 4 + (size_t)read_u32(c->input + at)) {
    unsigned char *answer = c->input + at;
    uint32_t length = read_u32(answer), id = read_u32(answer + 8);
    if (answer[4] == ANSWER_ERROR || id >= c->count) {
      fprintf(stderr, "request %u: %.*s\n", id, (int)length - 8, (char *)answer + HEADER);
      exit(1);
    }
    if (id) c->unanswered[answer[6] | answer[7] << 8]--;
    operations_done += c->frames[id].operations;
    frames_done++;
    c->in_flight--;
    at += 4 + length;
  }
  memmove(c->input, c->input + at, c->held - at);
  c->held -= at;
}

static uint32_t in_flight(int count) {
  uint32_t sum = 0;
  for (int i = 0; i < count; i++) sum += connections[i].in_flight;
  return sum;
}

static void turn(int count, uint32_t most) {
  for (int i = 0; i < count; i++) {
    struct connection *c = &connections[i];
    if (most) send_frames(c, polled[i].fd, most);
    polled[i].events = (short)(POLLIN | (c->written < c->filled ? POLLOUT : 0));
  }
  if (poll(polled, (nfds_t)count, -1) < 0) fail("poll");
  for (int i = 0; i < count; i++) {
    if (polled[i].revents & ~POLLOUT) receive(&connections[i], polled[i].fd);
    else if (polled[i].revents) send_frames(&connections[i], polled[i].fd, 0);
  }
}

int main(int argc, char **argv) {
  int count = (argc - 3) / 2;
  if (argc < 5 || argc % 2 == 0 || count > MOST) {
    fputs("usage: client SECONDS IN_FLIGHT PORT FRAMES [PORT FRAMES …]\n", stderr);
    return 2;
  }
  uint32_t most = (uint32_t)atoi(argv[2]);
  for (int i = 0; i < count; i++) {
    struct connection *c = &connections[i];
    prepare(c, argv[4 + 2 * i]);
    if (c->count <= most) {
      fputs("More frames in flight than there are.\n", stderr);
      return 2;
    }
    polled[i].fd = connect_to(atoi(argv[3 + 2 * i]));
    if (write(polled[i].fd, c->file.at, c->frames[0].end) != (ssize_t)c->frames[0].end) fail("hello");
    c->next = 1;
    c->written = c->filled = c->frames[0].end;
    c->in_flight = 1;
  }
  while (in_flight(count)) turn(count, 0);
  frames_done = 0;

  double start = seconds_now(), end = start + atof(argv[1]);
  while (seconds_now() < end) turn(count, most);
  while (in_flight(count)) turn(count, 0);
  printf("{\"operations\":%lu,\"frames\":%lu,\"seconds\":%.6f}\n", operations_done, frames_done, seconds_now() - start);
  return 0;
}
