/**
 * The detector as a pure step function: which peers are probed when, whom else this node asks, and when it accuses one. Time
 * comes in events; whatever they say of it, a tick that comes late means that this node itself stood still.
 *
 *   subject is   event             what follows
 *   idle         tick, when due    a probe; direct
 *   direct       answered          idle; misses start over, the link is direct
 *                failed            others are asked at once; asking
 *                tick, half time   others are asked, and the probe goes on; asking
 *   asking       answered          as above: a late answer is one
 *                helped yes        idle; misses start over, the link is indirect
 *                helped no, all    once the probe has failed too: a miss; idle
 *                tick, full time   a miss; idle
 *   any          watch             probes begin for new subjects, spread over an interval, and end for others
 *                disconnected      a hint and no death: the next probe is due at once
 *
 * At `failureThreshold` misses the subject is accused, once per incarnation, and probed on. Lifeguard (Dadgar and others,
 * 2017): a node whose event loop lags counts no misses and accuses nobody until it has been well for a while; each lag and
 * each miss that nobody could confirm lowers its health, which stretches its timeouts. One whose probes fail for most of its
 * subjects while nobody gives it any answer is cut off: what it holds against others then it keeps to itself.
 * What accusations mean is decided in records.ts.
 */
import type { Limits } from '../base/limits.ts'
import type { Evidence } from './records.ts'

export type Link = 'direct' | 'indirect'

interface Subject {
  readonly incarnation: number
  readonly misses: number
  readonly phase: 'idle' | 'direct' | 'asking'
  /** Counts the probes; what belongs to an earlier one has come too late to count against the subject. */
  readonly round: number
  readonly startedAtMs: number
  readonly dueMs: number
  readonly accused: boolean
  readonly link: Link
  /** Smoothed, of direct answers; undefined before the first. */
  readonly rttMs: number | undefined
  /** What the last probe that failed met. */
  readonly evidence: Evidence
  readonly failed: boolean
  /** How many of those that were asked have not answered yet. */
  readonly helpers: number
}

export interface LivenessState {
  readonly subjects: ReadonlyMap<string, Subject>
  /** 0 is well; each step stretches the timeouts by their own length. */
  readonly health: number
  /** When it last grew worse, which it does once per interval. */
  readonly worsenedAtMs: number
  /** No miss counts before. */
  readonly slowUntilMs: number
  readonly tickedAtMs: number | undefined
  /** When anybody answered this node last: a subject, or one that was asked. */
  readonly heardAtMs: number
}

export type LivenessEvent =
  | { type: 'watch'; nowMs: number; subjects: readonly { peer: string; incarnation: number }[] }
  | { type: 'tick'; nowMs: number }
  | { type: 'answered'; nowMs: number; peer: string; rttMs: number }
  | { type: 'failed'; nowMs: number; peer: string; round: number; evidence: Evidence }
  | { type: 'asked'; nowMs: number; peer: string; round: number; helpers: number }
  | { type: 'helped'; nowMs: number; peer: string; round: number; outcome: 'yes' | 'no' | 'unknown' }
  | { type: 'disconnected'; nowMs: number; peer: string }

export type LivenessEffect =
  | { type: 'probe'; peer: string; round: number; timeoutMs: number }
  | { type: 'ask'; peer: string; round: number; timeoutMs: number }
  /** `aloud` unless this node has reason to think that it is itself cut off. */
  | { type: 'accuse'; peer: string; incarnation: number; evidence: Evidence; aloud: boolean }

export type LivenessLimits = Pick<
  Limits,
  | 'probeIntervalMs'
  | 'probeTimeoutMs'
  | 'probeAskMs'
  | 'failureThreshold'
  | 'loopLagMs'
  | 'livenessTickMs'
  | 'localHealthMax'
>

export const initialLiveness: LivenessState = {
  subjects: new Map(),
  health: 0,
  worsenedAtMs: Number.NEGATIVE_INFINITY,
  slowUntilMs: 0,
  tickedAtMs: undefined,
  heardAtMs: Number.NEGATIVE_INFINITY,
}

type Step = [LivenessState, LivenessEffect[]]

/** The next state and what is to be done. `nowMs` is monotonic. */
export const stepLiveness = (before: LivenessState, event: LivenessEvent, limits: LivenessLimits): Step => {
  const state = noteLag(before, event, limits)
  switch (event.type) {
    case 'watch':
      return [{ ...state, subjects: watch(state.subjects, event, limits) }, []]
    case 'tick':
      return tick(state, event.nowMs, limits)
    case 'answered':
      return [answered(state, event.peer, event.nowMs, { link: 'direct', rttMs: event.rttMs }), []]
    case 'failed':
      return failed(state, event, limits)
    case 'asked':
      return concluded(
        change(state, event, (known) => ({ ...known, helpers: event.helpers })),
        event,
        limits,
      )
    case 'helped':
      return helped(state, event, limits)
    case 'disconnected':
      return [update(state, event.peer, (known) => ({ ...known, dueMs: Math.min(known.dueMs, event.nowMs) })), []]
  }
}

/** Why this node cannot be trusted to judge others at the moment. */
export const troubleOf = (
  state: LivenessState,
  nowMs: number,
  limits: Pick<Limits, 'probeTimeoutMs'>,
): 'loop-lag' | 'cut-off' | undefined => {
  if (nowMs < state.slowUntilMs) return 'loop-lag'
  const failing = [...state.subjects.values()].filter((subject) => subject.misses > 0).length
  const silent = nowMs - state.heardAtMs > 2 * limits.probeTimeoutMs
  return state.subjects.size > 1 && failing > state.subjects.size / 2 && silent ? 'cut-off' : undefined
}

/**
 * A node that stood still learns of it by whatever comes first, which may be the end of its own waiting for an answer that lies
 * unread: so every event tells how long ago the last tick was.
 */
const noteLag = (state: LivenessState, event: LivenessEvent, limits: LivenessLimits): LivenessState => {
  const { nowMs } = event
  const tickedAtMs = event.type === 'tick' ? nowMs : state.tickedAtMs
  const lagMs = nowMs - (state.tickedAtMs ?? nowMs) - limits.livenessTickMs
  if (lagMs <= limits.loopLagMs) return tickedAtMs === state.tickedAtMs ? state : { ...state, tickedAtMs }
  const slowUntilMs = nowMs + limits.probeIntervalMs + limits.probeTimeoutMs
  return { ...worse(state, nowMs, limits), tickedAtMs, slowUntilMs }
}

const worse = (state: LivenessState, nowMs: number, limits: LivenessLimits): LivenessState =>
  nowMs < state.worsenedAtMs + limits.probeIntervalMs
    ? state
    : { ...state, health: Math.min(limits.localHealthMax, state.health + 1), worsenedAtMs: nowMs }

const update = (state: LivenessState, peer: string, to: (subject: Subject) => Subject): LivenessState => {
  const subject = state.subjects.get(peer)
  return subject ? { ...state, subjects: new Map(state.subjects).set(peer, to(subject)) } : state
}

/** The same for what belongs to the probe that is under way. */
const change = (
  state: LivenessState,
  { peer, round }: { peer: string; round: number },
  to: (subject: Subject) => Subject,
): LivenessState =>
  update(state, peer, (known) => (known.round === round && known.phase !== 'idle' ? to(known) : known))

const stretched = (ms: number, { health }: LivenessState): number => ms * (1 + health)

/** A peer with a new incarnation is a new subject: it has just spoken. */
const watch = (
  before: ReadonlyMap<string, Subject>,
  event: Extract<LivenessEvent, { type: 'watch' }>,
  limits: LivenessLimits,
): ReadonlyMap<string, Subject> => {
  const step = limits.probeIntervalMs / Math.max(1, event.subjects.length)
  return new Map(
    event.subjects.map(({ peer, incarnation }, index) => {
      const known = before.get(peer)
      if (known?.incarnation === incarnation) return [peer, known]
      const fresh = {
        phase: 'idle' as const,
        round: 0,
        startedAtMs: event.nowMs,
        dueMs: event.nowMs + step * index,
        link: 'direct' as const,
        rttMs: undefined,
        evidence: 'no-answer' as const,
        failed: false,
        helpers: 0,
      }
      return [peer, { ...fresh, ...known, incarnation, misses: 0, accused: false }]
    }),
  )
}

/** First what has taken too long, then what is due. */
const tick = (before: LivenessState, nowMs: number, limits: LivenessLimits): Step => {
  let state = before
  const effects: LivenessEffect[] = []
  const apply = ([next, more]: Step): void => {
    state = next
    effects.push(...more)
  }
  for (const [peer, { phase, startedAtMs }] of before.subjects) {
    if (phase === 'idle') continue
    if (nowMs >= startedAtMs + stretched(limits.probeTimeoutMs, state)) apply(missed(state, peer, nowMs, limits))
    else if (phase === 'direct' && nowMs >= startedAtMs + stretched(limits.probeAskMs, state))
      apply(ask(state, peer, nowMs, limits))
  }
  for (const [peer, { phase, dueMs }] of state.subjects)
    if (phase === 'idle' && dueMs <= nowMs) apply(probe(state, peer, nowMs, limits))
  return [state, effects]
}

const probe = (state: LivenessState, peer: string, nowMs: number, limits: LivenessLimits): Step => {
  const round = state.subjects.get(peer)!.round + 1
  const dueMs = nowMs + limits.probeIntervalMs
  const next = update(state, peer, (known) => ({
    ...known,
    ...{ phase: 'direct', round, startedAtMs: nowMs, dueMs, failed: false, helpers: 0 },
  }))
  return [next, [{ type: 'probe', peer, round, timeoutMs: stretched(limits.probeTimeoutMs, state) }]]
}

/** What is left of the probe's time is theirs. A node that is slow gives nobody else work: its misses do not count anyhow. */
const ask = (state: LivenessState, peer: string, nowMs: number, limits: LivenessLimits): Step => {
  const { round, startedAtMs } = state.subjects.get(peer)!
  if (nowMs < state.slowUntilMs)
    return concluded(
      update(state, peer, (known) => ({ ...known, phase: 'asking', helpers: 0 })),
      { peer, round, nowMs },
      limits,
    )
  const timeoutMs = Math.max(1, startedAtMs + stretched(limits.probeTimeoutMs, state) - nowMs)
  // Counts as one until the shell has told how many there are.
  const next = update(state, peer, (known) => ({ ...known, phase: 'asking', helpers: 1 }))
  return [next, [{ type: 'ask', peer, round, timeoutMs }]]
}

const failed = (
  state: LivenessState,
  event: Extract<LivenessEvent, { type: 'failed' }>,
  limits: LivenessLimits,
): Step => {
  const next = change(state, event, (known) => ({ ...known, failed: true, evidence: event.evidence }))
  const subject = next.subjects.get(event.peer)
  if (next === state || subject?.round !== event.round) return [state, []]
  return subject.phase === 'direct' ? ask(next, event.peer, event.nowMs, limits) : concluded(next, event, limits)
}

const answered = (
  state: LivenessState,
  peer: string,
  nowMs: number,
  { link, rttMs }: { link: Link; rttMs: number | undefined },
): LivenessState => {
  const smooth = (known: number | undefined) =>
    rttMs === undefined || known === undefined ? (rttMs ?? known) : known + (rttMs - known) / 4
  const next = update(state, peer, (known) => ({
    ...known,
    ...{ misses: 0, phase: 'idle', link, rttMs: smooth(known.rttMs) },
  }))
  return { ...next, health: Math.max(0, state.health - 1), heardAtMs: nowMs }
}

const helped = (
  before: LivenessState,
  event: Extract<LivenessEvent, { type: 'helped' }>,
  limits: LivenessLimits,
): Step => {
  const { peer, round, outcome, nowMs } = event
  const state = outcome === 'unknown' ? before : { ...before, heardAtMs: nowMs }
  const subject = state.subjects.get(peer)
  if (subject?.round !== round || subject.phase !== 'asking') return [state, []]
  if (outcome === 'yes') return [answered(state, peer, nowMs, { link: 'indirect', rttMs: undefined }), []]
  return concluded(
    change(state, event, (known) => ({ ...known, helpers: known.helpers - 1 })),
    event,
    limits,
  )
}

/** A miss before the time is over: the probe has failed, and nobody is left that could know better. */
const concluded = (
  state: LivenessState,
  { peer, round, nowMs }: { peer: string; round: number; nowMs: number },
  limits: LivenessLimits,
): Step => {
  const subject = state.subjects.get(peer)
  const isOver = subject?.round === round && subject.phase === 'asking' && subject.failed && subject.helpers <= 0
  return isOver ? missed(state, peer, nowMs, limits) : [state, []]
}

const missed = (before: LivenessState, peer: string, nowMs: number, limits: LivenessLimits): Step => {
  const subject = before.subjects.get(peer)!
  const isSlow = nowMs < before.slowUntilMs
  const confirmed = nowMs - before.heardAtMs <= limits.probeTimeoutMs
  const misses = isSlow ? subject.misses : subject.misses + 1
  const accuse = misses >= limits.failureThreshold && !subject.accused && !isSlow
  const evidence = subject.failed ? subject.evidence : 'no-answer'
  const state = update(confirmed ? before : worse(before, nowMs, limits), peer, (known) => ({
    ...known,
    ...{ misses, phase: 'idle', evidence, accused: known.accused || accuse },
  }))
  if (!accuse) return [state, []]
  const aloud = troubleOf(state, nowMs, limits) === undefined
  return [state, [{ type: 'accuse', peer, incarnation: subject.incarnation, evidence, aloud }]]
}
