/*
 * Moves datagrams through a TURN server at a pace, for as little CPU as C can: sockets that are
 * bound and connected already, inherited from the process that made the allocations.
 *
 *     turn_flows <rate> <seconds> <burst> <sender fd>:<receiver fd>:<prefix hex>:<size> ...
 *
 * Each flow sends `prefix`, then bytes up to `size`. Prints what was sent, what was received, the
 * seconds it took and the seconds of CPU that this process used.
 */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>

enum { BATCH = 32, MAX_FLOWS = 256, SLOT = 2048 };

struct flow {
  int sender, receiver;
  unsigned length;
  unsigned char datagram[SLOT];
};

static struct flow flows[MAX_FLOWS];
static unsigned char sink[BATCH][SLOT];
static struct mmsghdr in[BATCH], out[BATCH];
static struct iovec in_pieces[BATCH], out_pieces[BATCH];

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec + t.tv_nsec / 1e9;
}

static long take(int count) {
  long total = 0;
  for (int i = 0; i < count; i++) {
    int got = BATCH;
    while (got == BATCH) {
      got = recvmmsg(flows[i].receiver, in, BATCH, MSG_DONTWAIT, NULL);
      if (got > 0) total += got;
    }
  }
  return total;
}

static void load(struct flow *flow, const char *prefix) {
  unsigned length = 0;
  for (; prefix[0] && prefix[1]; prefix += 2) {
    char digits[3] = {prefix[0], prefix[1], 0};
    flow->datagram[length++] = (unsigned char)strtoul(digits, NULL, 16);
  }
  for (unsigned i = length; i < flow->length; i++) flow->datagram[i] = (unsigned char)(i * 31);
}

int main(int argc, char **argv) {
  if (argc < 5) return 2;
  double rate = atof(argv[1]), seconds = atof(argv[2]);
  int burst = atoi(argv[3]), count = 0;
  for (int i = 4; i < argc && count < MAX_FLOWS; i++, count++) {
    char prefix[256] = "";
    struct flow *flow = &flows[count];
    if (sscanf(argv[i], "%d:%d:%u:%255s", &flow->sender, &flow->receiver, &flow->length, prefix) < 3)
      return 2;
    if (flow->length > SLOT) return 2;
    load(flow, prefix);
  }
  if (burst > BATCH) burst = BATCH;
  for (int i = 0; i < BATCH; i++) {
    in_pieces[i] = (struct iovec){sink[i], SLOT};
    in[i].msg_hdr.msg_iov = &in_pieces[i];
    in[i].msg_hdr.msg_iovlen = 1;
    out[i].msg_hdr.msg_iov = &out_pieces[i];
    out[i].msg_hdr.msg_iovlen = 1;
  }
  take(count);
  /* Looking for what came costs a call for each flow: not more often than there can be some. */
  long sent = 0, received = 0, turn = 0, looked = 0;
  double start = now(), end = start + seconds, idle = start, t;
  while ((t = now()) < end) {
    long due = (long)((t - start) * rate) - sent;
    for (int i = 0; i < count && due > 0; i++) {
      struct flow *flow = &flows[turn++ % count];
      int wanted = due < burst ? (int)due : burst;
      for (int j = 0; j < wanted; j++) {
        out_pieces[j].iov_base = flow->datagram;
        out_pieces[j].iov_len = flow->length;
      }
      int taken = sendmmsg(flow->sender, out, wanted, MSG_DONTWAIT);
      if (taken > 0) sent += taken;
      due -= wanted;
    }
    if (sent - looked < 4L * count && t < idle) continue;
    looked = sent;
    idle = t + 0.001;
    received += take(count);
  }
  double took = now() - start;
  for (double settle = now() + 0.3; now() < settle;) received += take(count);
  struct rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  double cpu = usage.ru_utime.tv_sec + usage.ru_stime.tv_sec +
               (usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
  printf("%ld %ld %.6f %.6f\n", sent, received, took, cpu);
  return 0;
}
