/** Plain counts of what the machine did, for metrics: totals since the start. */
export class Counters {
  allocations = 0;
  packetsToPeers = 0;
  bytesToPeers = 0;
  packetsToClients = 0;
  bytesToClients = 0;
  /** Packets that went from one client straight to another; they count in both directions too. */
  packetsHairpinned = 0;
  bindings = 0;
  /** Answers 401 to requests without credentials. */
  challenges = 0;
  staleNonces = 0;
  wrongCredentials = 0;
  /** Error responses by code. */
  readonly errors = new Map<number, number>();
  /** Requests left unanswered because their source or user asks too often. */
  droppedRateLimited = 0;
  droppedMalformed = 0;
  /** Messages that nobody answers: responses, unknown methods, wrong classes, unknown clients. */
  droppedUnexpected = 0;
  droppedNoPermission = 0;
  droppedNoChannel = 0;
  droppedForbidden = 0;
  droppedBandwidth = 0;
  /** Relayed to an address of this server that nobody holds, or a port that is being closed. */
  droppedNoAllocation = 0;
  /** Counted by the shell: packets for a client or socket that does not take them. */
  droppedBackpressure = 0;

  countError(code: number): void {
    this.errors.set(code, (this.errors.get(code) ?? 0) + 1);
  }
}
