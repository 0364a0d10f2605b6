/*
 * Cuts frames that come over the loopback and answers each, in one thread: what a server costs that does nothing else.
 *
 *   answerer CONNECTIONS
 *
 * Prints its port, serves that many connections and ends with the last of them.
 */
#include "blocks.h"
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>

#define HEADER 12
#define ANSWER_BYTES 16
#define BUFFER (4 << 20)
#define MOST 64

struct peer {
  unsigned char *in;
  size_t held;
};

/* Answers what is whole, in one write; returns 0 at the end of the connection. */
static int serve(int fd, struct peer *peer) {
  static unsigned char out[BUFFER];
  ssize_t got = read(fd, peer->in + peer->held, BUFFER - peer->held);
  if (got <= 0) return 0;
  peer->held += (size_t)got;
  size_t at = 0, end = 0;
  while (peer->held - at >= 4 && peer->held - at >= 4 + (size_t)read_u32(peer->in + at)) {
    uint32_t length = ANSWER_BYTES - 4;
    memcpy(out + end, &length, 4);
    out[end + 4] = peer->in[at + 4] | 0x80;
    out[end + 5] = 0;
    memcpy(out + end + 6, peer->in + at + 6, 6);
    memset(out + end + HEADER, 0, 4);
    end += ANSWER_BYTES;
    at += 4 + read_u32(peer->in + at);
  }
  memmove(peer->in, peer->in + at, peer->held - at);
  peer->held -= at;
  for (size_t sent = 0; sent < end;) {
    ssize_t wrote = write(fd, out + sent, end - sent);
    if (wrote <= 0) return 0;
    sent += (size_t)wrote;
  }
  return 1;
}

int main(int argc, char **argv) {
  int wanted = argc == 2 ? atoi(argv[1]) : 0;
  if (wanted < 1 || wanted > MOST) {
    fputs("usage: answerer CONNECTIONS\n", stderr);
    return 2;
  }
  int listener = socket(AF_INET, SOCK_STREAM, 0), on = 1;
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t size = sizeof address;
  if (bind(listener, (struct sockaddr *)&address, size) || listen(listener, MOST)) fail("listen");
  if (getsockname(listener, (struct sockaddr *)&address, &size)) fail("getsockname");
  printf("%d\n", ntohs(address.sin_port));
  fflush(stdout);

  struct pollfd polled[MOST];
  struct peer peers[MOST];
  for (int i = 0; i < wanted; i++) {
    polled[i] = (struct pollfd){accept(listener, NULL, NULL), POLLIN, 0};
    if (polled[i].fd < 0) fail("accept");
    setsockopt(polled[i].fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    peers[i] = (struct peer){malloc(BUFFER), 0};
  }
  for (int open = wanted; open > 0;) {
    if (poll(polled, (nfds_t)wanted, -1) < 0) fail("poll");
    for (int i = 0; i < wanted; i++) {
      if (polled[i].fd < 0 || !polled[i].revents || serve(polled[i].fd, &peers[i])) continue;
      close(polled[i].fd);
      polled[i].fd = -1;
      open--;
    }
  }
  return 0;
}
