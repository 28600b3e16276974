/**
 * Every message type of an envelope: the reference's registry and, from 0x0710 on, ours. The
 * payloads of the types without a codec are undefined.
 */
export const MessageType = {
  VersionNegotiate: 0x0001,

  PairRequest: 0x0100,
  PairChallenge: 0x0101,
  PairResponse: 0x0102,
  PairConfirm: 0x0103,
  PairReject: 0x0104,
  PairRevoke: 0x0105,
  HandshakeInit: 0x01e0,
  HandshakeResponse: 0x01e1,
  HandshakeFinish: 0x01e2,
  HandshakeAck: 0x01e3,

  SessionResume: 0x0200,
  SessionResumeAck: 0x0201,
  SessionExpired: 0x0202,
  SessionClose: 0x0203,

  DataMessage: 0x0300,
  DataAck: 0x0301,
  DataNack: 0x0302,
  ChannelInit: 0x0303,

  Heartbeat: 0x0400,
  HeartbeatAck: 0x0401,
  TransportMigrate: 0x0402,
  TransportMigrateAck: 0x0403,

  RouteRequest: 0x0500,
  RouteResponse: 0x0501,
  RelayData: 0x0502,
  RelayAck: 0x0503,

  RendezvousPublish: 0x0600,
  RendezvousQuery: 0x0601,
  RendezvousResponse: 0x0602,

  ForwardRequest: 0x0700,
  ForwardAck: 0x0701,
  ForwardDeliver: 0x0702,
  ForwardPurge: 0x0703,
  PrekeyPublish: 0x0710,
  PrekeyFetch: 0x0711,
  PrekeyBundle: 0x0712,
  MailboxStatus: 0x0713,
  SequenceQuery: 0x0714,
  SequenceReport: 0x0715,
  MailboxDrained: 0x0716,
  ReceiptAck: 0x0717,
  Roster: 0x0720,
  RosterChange: 0x0721,
  SyncRequest: 0x0730,
  SyncAck: 0x0731,
  TransientData: 0x0740,
  TransientAck: 0x0741,
} as const;

/** Longest name of a channel, in UTF-8 bytes. */
export const MAX_CHANNEL_LENGTH = 255;
/** Longest reason or other text in a message, in UTF-8 bytes. */
export const MAX_TEXT_LENGTH = 256;
