/**
 * Every limit and interval of the project, named with its unit. A room takes the ones it needs from here, and nobody
 * writes such a number elsewhere. Where a number comes from measurements, the comment says so.
 */
export const limits = {
  // Frames and messages
  rpcFrameBytesMax: 1024 * 1024,
  rpcPayloadBytesMax: 256 * 1024,
  rpcCallsPerPeerMax: 1024,
  rpcCallCreditBytes: 256 * 1024,
  rpcSessionQueueBytesMax: 8 * 1024 * 1024,
  rpcDefaultTimeoutMs: 10_000,
  rpcTimeoutMsMax: 24 * 60 * 60_000,
  wireDepthMax: 16,
  wireItemsMax: 100_000,
  bulkFrameBytes: 64 * 1024, // measured best over Noise and Yamux
  bulkHeaderBytesMax: 16 * 1024,
  bulkIdleTimeoutMs: 30_000,
  gossipMessageBytesMax: 4 * 1024,

  // Connections
  connectionsMax: 512,
  inboundConnectionsPerSecond: 100, // the default of 5 resets a burst of joins
  inboundStreamsPerProtocol: 256, // the 33rd is reset by default, after the dial seemed to succeed
  dialTimeoutMs: 5_000,
  admissionTimeoutMs: 5_000,
  stopTimeoutMs: 3_000,

  // Realm and identity
  realmNameLengthMax: 63,
  certificateTtlMs: 7 * 24 * 60 * 60_000,
  certificateBytesMax: 1_024,
  realmDocumentBytesMax: 64 * 1024,
  realmDocumentChainMax: 256,
  tokenTtlMs: 60 * 60_000,
  tokenTtlMsMax: 30 * 24 * 60 * 60_000,
  tokenUsesMax: 10_000,
  tokenBytesMax: 8 * 1024,
  tokenSeedsMax: 8,
  clockSkewMs: 5 * 60_000,

  // Advertisements and the view
  advertisementBytesMax: 2 * 1024,
  advertiseIntervalMsMin: 15_000,
  advertiseIntervalMsMax: 300_000,
  advertisePeersPerSecond: 6, // refresh grows with N / 6 seconds
  advertiseTokenEveryMs: 5_000,
  advertiseBurst: 3,
  advertiseTtlFactor: 3,
  advertisementTtlMsMax: 1_000_000,
  peersPerRealmMax: 10_000,
  tombstoneMs: 2_000_000, // longer than the longest ttl
  syncIntervalMs: 30_000,
  syncPeersOnConnect: 2,
  syncBuckets: 64,
  syncEntriesPerPage: 100,

  // Liveness
  watchersPerNode: 5,
  probeIntervalMs: 1_000,
  probeTimeoutMs: 1_000,
  failureThreshold: 3,
  downWaitMs: 4_000, // times log10 of the number of peers, with two accusers
  downWaitAloneFactor: 6,
  loopLagMs: 200,

  // Finding peers again
  rememberedPeersMax: 64,
  seedIntervalMs: 30_000,
  seedJitter: 0.3,

  // Placement
  placementAttemptsMax: 8,
  reservationMs: 30_000,
  reservationsMax: 1_024,
  offloadThreshold: 0.8,
  decisionCandidatesMax: 256,
  decisionsKept: 1_000,
  inFlightMs: 30_000,

  // Agents
  capacityDefault: 8,
  capacityMax: 10_000,
  agentsListedMax: 10_000,
  labelsMax: 32,
  labelKeyLengthMax: 63,
  labelValueLengthMax: 255,
  capabilitiesMax: 32,
  agentHomes: 3,
  recordRefreshMs: 30_000,
  killedWorkspaceMs: 24 * 60 * 60_000,
  listTimeoutMs: 3_000,
  agentTimeoutSecondsMax: 30 * 24 * 60 * 60,

  // Workspaces
  workspaceBytesMax: 2 * 1024 * 1024 * 1024,
  workspaceEntriesMax: 200_000,
  workspaceUploadsMax: 64,
  workspaceUploadTtlMs: 60 * 60_000,
  gitCloneTimeoutMs: 5 * 60_000,

  // Exec
  execsPerAgentMax: 128,
  execArgsMax: 1_024,
  execArgsBytesMax: 128 * 1024,
  execEnvMax: 256,
  execChunkBytes: 64 * 1024,
  execKillGraceMs: 3_000,
  execTimeoutSecondsMax: 7 * 24 * 60 * 60,

  // API
  apiPort: 7373,
  apiBodyBytesMax: 1024 * 1024,
  apiStreamsMax: 1_024,
} as const

/** The limits as plain numbers, so that a test can hand in others. */
export type Limits = { readonly [K in keyof typeof limits]: number }
