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
  rpcRequestBytesPerPeerMax: 32 * 1024 * 1024, // of calls that a peer has open here
  rpcSessionsPerConnectionMax: 4, // one is used; two meet when both sides open at once
  rpcItemOverheadBytes: 64, // what an item costs of its call's credit beside its payload
  rpcWriteBytes: 64 * 1024,
  rpcErrorBytesMax: 16 * 1024,
  rpcDefaultTimeoutMs: 10_000,
  rpcTimeoutMsMax: 24 * 60 * 60_000,
  wireDepthMax: 16,
  wireItemsMax: 100_000,
  bulkFrameBytes: 64 * 1024, // measured best over Noise and Yamux
  bulkWriteBytes: 65_519 - 12, // one message of Noise less the head of Yamux, or each write would be two messages
  bulkHeaderBytesMax: 16 * 1024,
  bulkBufferBytes: 1024 * 1024, // received and not yet consumed, before the stream is paused
  bulkIdleTimeoutMs: 30_000,
  bulkAnswerTimeoutMs: 5 * 60_000, // for the receiver's answer after the last byte
  gossipMessageBytesMax: 4 * 1024,
  gossipRpcBytesMax: 4 * 1024 * 1024,
  gossipTopicsPerRpcMax: 128,
  gossipItemsPerRpcMax: 5_000, // messages and ids of messages, each
  gossipTopicBytesPerPeerMax: 16 * 1024,
  gossipChecksMax: 1_024, // messages whose handlers have not answered yet
  gossipQueueBytesMax: 4 * 1024 * 1024,
  gossipHeartbeatMs: 500,
  gossipDegree: 6,
  gossipReopenMs: 500,
  gossipSeenMs: 120_000,
  gossipSeenMax: 50_000, // ids of messages, of some 150 bytes each; the oldest give way
  gossipMessagesPerSecond: 200, // that one peer passes on, and what may come at once
  gossipMessagesBurst: 2_000,
  gossipAuthorPerSecond: 2, // that are passed on of one author
  gossipAuthorBurst: 20,
  gossipAuthorsMax: 20_000,
  rpcCallsPerSecond: 50_000, // of one peer, by class
  rpcOpenCallsPerSecond: 20, // what is answered to anyone
  rpcOpenCallsBurst: 100,
  rpcSyncCallsPerSecond: 50,
  rpcSyncCallsBurst: 500,
  rpcActsPerSecond: 500, // what starts, ends or lists agents; beyond what one host can do, so nobody honest meets it
  rpcActsBurst: 5_000,

  // Connections
  peerPort: 7374, // taken where it is free and no --listen is given
  webSocketPort: 7375, // for --websocket without a port
  connectionsMax: 512,
  inboundConnectionsPerSecond: 100, // the default of 5 resets a burst of joins
  inboundStreamsPerProtocol: 256, // the 33rd is reset by default, after the dial seemed to succeed
  dialTimeoutMs: 10_000,
  admissionTimeoutMs: 5_000,
  pendingInboundConnectionsMax: 100,
  writeJoinedBytesMax: 16 * 1024, // up to here a copy costs less than a second write
  windowUpdateBytes: 64 * 1024, // a quarter of the window that a stream begins with
  streamWindowBytesMax: 4 * 1024 * 1024,
  streamReadBytesMax: 5 * 1024 * 1024, // above the window, or a paused stream would be aborted
  streamWriteBytesMax: 16 * 1024 * 1024, // infinite by default
  connectionPingIntervalMs: 15_000, // lenient: one failed ping aborts a connection, and liveness is no matter of pings
  connectionPingTimeoutMs: 15_000,
  addressesPerPeerMax: 16,
  directDialTimeoutMs: 3_000, // for one address, and not long for all: what is dropped on the way says nothing
  directDialsTimeoutMs: 5_000, // before relays are tried
  strangersMax: 256, // connections that are not admitted
  strangersPerAddressMax: 128,
  connectionsPerPeerMax: 16,
  admittedTag: 100, // libp2p cuts connections of the lowest value first
  mdnsIntervalMs: 10_000,
  hintsMax: 64, // peers that mDNS has found and nobody knows yet
  hintRetryMs: 60_000,

  // Relays
  relayCircuitsMax: 64,
  relayCircuitsPerPeerMax: 16,
  relayBytesPerSecond: 16 * 1024 * 1024, // of one circuit, in each direction
  relayBufferBytes: 1024 * 1024, // taken in and not yet passed on
  relayReservationsMax: 64,
  relayReservationMs: 15 * 60_000, // renewed before it ends
  relayAddressesPerRelay: 2,
  relaysWanted: 2,
  reachabilityTickMs: 1_000,
  reachabilityIntervalMs: 60_000, // between two rounds of questions, once the answer is known
  reachabilityAskMs: 5_000, // before it is known
  dialBackTimeoutMs: 3_000,
  dialBackAddressesMax: 8,
  dialBacksPerSecond: 0.1, // for one peer
  dialBacksBurst: 3,
  dialBacksAtOnce: 8,
  disconnectTimeoutMs: 1_000,
  stopTimeoutMs: 3_000,

  // Realm and identity
  certificateTtlMs: 7 * 24 * 60 * 60_000,
  certificateTtlMsMax: 30 * 24 * 60 * 60_000,
  certificateBytesMax: 1_024,
  realmDocumentBytesMax: 64 * 1024,
  realmVersionMax: 2 ** 40,
  realmRootChangesMax: 64, // of one realm; each is kept, since it proves what comes after
  realmDocumentChainMax: 384, // documents that are shown to prove the newest; an older program shows every version
  realmDocumentFullShare: 0.75, // from which an operator is warned
  realmChainBytesMax: 512 * 1024,
  keyFileBytesMax: 4 * 1024,
  tokenTtlMs: 60 * 60_000,
  tokenTtlMsMax: 30 * 24 * 60 * 60_000,
  tokenUsesMax: 10_000,
  tokenBytesMax: 8 * 1024,
  tokenSeedsMax: 8,
  tokensOutstandingMax: 1_000,
  clockSkewMs: 5 * 60_000,
  revocationBytesMax: 1_024,
  revocationsPerIssuerMax: 1_024,
  revocationsPerPage: 100,
  headPatienceMs: 5_000, // for which a peer is not asked for a document after it had announced one that it had not
  renewTimeoutMs: 5_000, // for one issuer, then the next is asked
  renewRetryMs: 10_000, // after a round in which no issuer gave a certificate
  renewWarnEveryMs: 60 * 60_000,
  incarnationLeapMax: 1_024, // how far a start goes up at most, so that two copies of one store part at once
  duplicateLeap: 2 ** 20, // above every number that some thousand starts have used
  duplicateMarginMs: 2_000, // an own record that is not younger than the start by this may be a leftover of a lost store

  // Other realms and pinned nodes
  foreignRealmsMax: 16,
  cardSeedsMax: 8,
  cardBytesMax: 768 * 1024, // of the text; a chain of realmChainBytesMax fits
  guestConnectionsWanted: 3, // to the nodes of each named realm
  guestsRememberedMax: 16, // of each named realm
  guestTickMs: 500,
  shareRealmSettleMs: 250, // as syncSettleMs, for the side that answered a dial
  sharePullBytesMax: 128 * 1024, // of one page
  sharePullEntriesMax: 100,
  pinsMax: 64,
  pinShownIntervalMs: 5_000,

  // Store
  storeKeyBytesMax: 1_024,
  storeValueBytesMax: 16 * 1024 * 1024,
  storeLogBytesMax: 64 * 1024 * 1024, // what the write-ahead log shrinks to after it was checkpointed

  // Advertisements and the view
  advertisementBytesMax: 2 * 1024,
  addressesAdvertisedMax: 8,
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
  syncDigestsPerPage: 500,
  syncBytesPerPage: 128 * 1024,
  syncTimeoutMs: 5_000,
  syncPushChecksPerSecond: 200, // signatures that one peer may have checked by pushing, and what may come at once
  syncPushChecksBurst: 10_000, // as many as a view holds
  syncPushChecksPerTurn: 16, // while another page waits
  advertisementLoadChange: 0.1, // of the load, told at once
  envelopeOverheadBytesMax: 256, // key, signature and domain around a sealed payload
  certificatesCachedMax: 20_000,
  refusalsLoggedMax: 1_000,
  joinTimeoutMs: 60_000,
  joinRetryMs: 500,
  presentTimeoutMs: 4_000, // below admissionTimeoutMs, so that the one who asks knows the answer first
  refusalNotesMax: 16, // members whose refusals of this node are kept for its operator
  refusedCloseMs: 500, // the refusal goes out first
  certificateCheckIntervalMs: 60_000,
  syncSettleMs: 250, // the side that answered a dial waits so long until it is admitted on the other side too
  syncFirstIntervalMs: 1_000, // doubles up to syncIntervalMs
  leaveTimeoutMs: 1_000,
  refuteAgainMs: 5_000, // the same accuser alone
  refuteIntervalMs: 500, // two nodes with one key would answer each other without end
  sponsorAgeMsMax: 2_000, // a newcomer's advertisement that is older is not passed on as new

  // Liveness
  watchersPerNode: 5,
  probeIntervalMs: 1_000,
  probeTimeoutMs: 1_000, // with what others say of the subject
  probeAskMs: 500, // after which others are asked, while the probe goes on
  probeHelpers: 3, // how many are asked
  probesForOthersPerSecond: 32, // of one peer that asks
  probesForOthersMax: 64, // at once
  failureThreshold: 3,
  failureThresholdMax: 20,
  healthCheckIntervalMsMin: 250,
  healthCheckIntervalMsMax: 60_000,
  recoveryTimeMs: 5_000,
  recoveryTimeMsMax: 60 * 60_000,
  localHealthMax: 4,
  accusationAgeMsMax: 1_000, // as carried by others; the rest of the wait is counted here
  downWaitMs: 4_000, // times log10 of the number of peers, with two accusers
  downWaitMsMin: 1_000,
  downWaitAloneFactor: 6,
  downAccusers: 2,
  accusersKept: 3,
  accuserReachFactor: 8, // an accuser counts so many times as far on the ring as watchers are on average
  accusationsPerAccuserPerSecond: 2, // that count, of one accuser against all
  accusationsPerAccuserBurst: 64,
  accusationRepeatMs: 10_000, // one accuser against one subject, in the long run
  accusationRepeatBurst: 3,
  accusersTrackedMax: 4_096,
  livenessTickMs: 250,
  loopLagMs: 200,

  // Finding peers again
  rememberedPeersMax: 64,
  seedIntervalMs: 30_000,
  seedJitter: 0.3,
  seedTickMs: 500,
  reconnectDelayMsMin: 500,
  reconnectDelayMsMax: 30_000,
  fullMeshPeersMax: 30, // up to here everybody keeps a connection to everybody
  connectionsWanted: 12, // beyond that, besides those to the nodes that it watches
  seedDialsAtOnce: 4,

  // Placement
  placementAttemptsMax: 8,
  reservationMs: 30_000,
  reservationsMax: 1_024,
  refusalReasonLengthMax: 2_048,
  offloadThreshold: 0.8,
  decisionCandidatesMax: 256,
  decisionsKept: 1_000,
  decisionReasonLengthMax: 255,
  needWordsLengthMax: 512,

  // Agents
  capacityDefault: 8,
  capacityMax: 10_000,
  agentsPerPage: 64,
  agentBytesPerPage: 128 * 1024, // an agent with every label at its bound takes 36 KiB
  agentHintsMax: 10_000,
  agentSearchPeersMax: 64,
  reserveTimeoutMs: 3_000,
  spawnSettleMs: 3_000, // a node that was killed is back within it
  spawnPollMs: 250,
  labelsMax: 32,
  labelKeyLengthMax: 63,
  labelValueLengthMax: 255,
  capabilitiesMax: 32,
  agentHomes: 3,
  recordRefreshMs: 30_000,
  recordSettleMs: 500,
  sweepIntervalMs: 60_000,
  recordTimeoutMs: 3_000,
  handTimeoutMs: 3_000, // the start of an agent waits for it, once for each peer that is tried
  handPeersMax: 3,
  grantCheckMs: 1_000,
  lookupTimeoutMs: 2_000, // for one home or host; what they say is at hand there
  recordsMax: 100_000,
  killedWorkspaceMs: 24 * 60 * 60_000,
  listTimeoutMs: 3_000,
  agentTimeoutSecondsMax: 30 * 24 * 60 * 60,
  timerMsMax: 24 * 60 * 60_000, // a longer wait is taken up again, since timers end at 2^31 ms

  // Workspaces
  workspaceBytesMax: 2 * 1024 * 1024 * 1024,
  workspaceEntriesMax: 200_000,
  workspaceDepthMax: 256,
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
  execDrainMs: 1_000, // how long output is awaited once the command and all that belongs to it has ended
  execReportBytesMax: 4 * 1024,
  execPipesAtHand: 24,
  sandboxProbeMs: 10_000,

  // Start
  startMemoryMs: 1_000, // after which what starting left in memory is given back

  // Watchdog
  watchdogStartMs: 10_000,
  watchdogAnswerMs: 10_000,
  watchdogLineLengthMax: 64 * 1024,
  watchdogRestartMs: 1_000,
  watchdogRounds: 100, // looks for what is left of a tree, with a pause between
  watchdogPauseMs: 20,

  // Log
  logFileBytesMax: 16 * 1024 * 1024,
  logRotateIntervalMs: 60_000,

  // Audit log
  auditFileBytesMax: 4 * 1024 * 1024, // of the current file and of the one before it; of acts and of refusals
  auditRepeatMs: 1_000, // the same refusal is written once in this time
  auditKeysMax: 256, // different entries in that time; refusals beyond are written together
  auditEntriesKept: 1_000, // in memory, for the API; of acts and of refusals
  auditEntriesListed: 100,
  auditTextLengthMax: 512, // of each text of an entry

  // API
  apiPort: 7373,
  apiBodyBytesMax: 1024 * 1024,
  apiStreamsMax: 1_024, // execs, inputs, uploads and event streams together
  apiConnectionsMax: 4_096,
  apiHeadersBytesMax: 16 * 1024,
  apiHeadersTimeoutMs: 10_000,
  apiBodyTimeoutMs: 30_000, // for a whole JSON body
  apiIdleTimeoutMs: 30_000, // between two parts of an upload, and for a connection between requests
  apiHeartbeatMs: 15_000, // on streams that have nothing to say; fetch gives up after five silent minutes
  apiDecisionsListed: 100,

  // Host
  diskFreeBytesMin: 512 * 1024 * 1024,
  diskFreeBytesWanted: 5 * 1024 * 1024 * 1024,

  // Federation, as the API takes it
  guestAgentsPerNode: 4, // unless a grant or a pin says otherwise

  // Draining
  drainListedMax: 100, // agents named in a report
  drainTimeoutMsMax: 30 * 24 * 60 * 60_000,

  // SDK and CLI
  clientDrainPollMs: 500,
  clientAuditPollMs: 1_000,
  clientCallTimeoutMs: 30_000,
  clientSpawnTimeoutMs: 10 * 60_000, // files are sent and repositories cloned meanwhile
  clientAttemptsMax: 4,
  clientRetryMs: 500,
  clientLineBytesMax: 4 * 1024 * 1024,
  clientAnswerBytesMax: 256 * 1024 * 1024,
  runOutputBytesMax: 64 * 1024 * 1024,
} as const

/** The limits as plain numbers, so that a test can hand in others. */
export type Limits = { readonly [K in keyof typeof limits]: number }
