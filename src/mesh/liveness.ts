/**
 * The detector as a pure step function: which peers are probed when, and when this node accuses one. Time comes in events.
 *
 *   event             what follows
 *   watch             probes begin for new subjects, spread over an interval, and end for others
 *   tick              due probes are sent, one at a time per subject; a late tick means that this node is slow
 *   answered          the subject is well: misses start over
 *   missed            one miss more, unless this node is slow; at limits.failureThreshold an accusation, once per incarnation
 *   disconnected      a hint and no death: the probe is due at once, and the threshold stays
 *
 * A node whose event loop lags accuses nobody until it has been well for an interval (Lifeguard, Dadgar and others, 2017).
 * What accusations mean is decided in records.ts.
 */
import type { Limits } from '../base/limits.ts'

interface Subject {
  readonly incarnation: number
  readonly misses: number
  readonly probing: boolean
  readonly dueMs: number
  readonly accused: boolean
}

export interface LivenessState {
  readonly subjects: ReadonlyMap<string, Subject>
  /** Nobody is accused before. */
  readonly slowUntilMs: number
}

export type LivenessEvent =
  | { type: 'watch'; nowMs: number; subjects: readonly { peer: string; incarnation: number }[] }
  | { type: 'tick'; nowMs: number; lagMs: number }
  | { type: 'answered'; nowMs: number; peer: string }
  | { type: 'missed'; nowMs: number; peer: string }
  | { type: 'disconnected'; nowMs: number; peer: string }

export type LivenessEffect = { type: 'probe'; peer: string } | { type: 'accuse'; peer: string; incarnation: number }

type LivenessLimits = Pick<Limits, 'probeIntervalMs' | 'probeTimeoutMs' | 'failureThreshold' | 'loopLagMs'>

export const initialLiveness: LivenessState = { subjects: new Map(), slowUntilMs: 0 }

/** The next state and what is to be done. `nowMs` is monotonic. */
export const stepLiveness = (
  state: LivenessState,
  event: LivenessEvent,
  limits: LivenessLimits,
): [LivenessState, LivenessEffect[]] => {
  switch (event.type) {
    case 'watch':
      return [{ ...state, subjects: watch(state.subjects, event, limits) }, []]
    case 'tick':
      return tick(state, event, limits)
    case 'answered':
      return [update(state, event.peer, (subject) => ({ ...subject, misses: 0, probing: false })), []]
    case 'missed':
      return missed(state, event, limits)
    case 'disconnected':
      return [update(state, event.peer, (subject) => ({ ...subject, dueMs: Math.min(subject.dueMs, event.nowMs) })), []]
  }
}

const update = (state: LivenessState, peer: string, change: (subject: Subject) => Subject): LivenessState => {
  const subject = state.subjects.get(peer)
  return subject ? { ...state, subjects: new Map(state.subjects).set(peer, change(subject)) } : state
}

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
      const dueMs = known?.dueMs ?? event.nowMs + step * index
      const fresh = { incarnation, misses: 0, probing: known?.probing ?? false, dueMs, accused: false }
      return [peer, known?.incarnation === incarnation ? known : fresh]
    }),
  )
}

const tick = (
  state: LivenessState,
  { nowMs, lagMs }: Extract<LivenessEvent, { type: 'tick' }>,
  limits: LivenessLimits,
): [LivenessState, LivenessEffect[]] => {
  const slowUntilMs =
    lagMs > limits.loopLagMs ? nowMs + limits.probeIntervalMs + limits.probeTimeoutMs : state.slowUntilMs
  const due = [...state.subjects].filter(([, subject]) => !subject.probing && subject.dueMs <= nowMs)
  if (due.length === 0) return [slowUntilMs === state.slowUntilMs ? state : { ...state, slowUntilMs }, []]
  const subjects = new Map(state.subjects)
  for (const [peer, subject] of due)
    subjects.set(peer, { ...subject, probing: true, dueMs: nowMs + limits.probeIntervalMs })
  return [{ subjects, slowUntilMs }, due.map(([peer]) => ({ type: 'probe', peer }))]
}

const missed = (
  state: LivenessState,
  { nowMs, peer }: Extract<LivenessEvent, { type: 'missed' }>,
  limits: LivenessLimits,
): [LivenessState, LivenessEffect[]] => {
  const subject = state.subjects.get(peer)
  if (!subject) return [state, []]
  const isSlow = nowMs < state.slowUntilMs
  const misses = isSlow ? subject.misses : subject.misses + 1
  const accuse = misses >= limits.failureThreshold && !subject.accused && !isSlow
  const next = update(state, peer, (known) => ({ ...known, misses, probing: false, accused: known.accused || accuse }))
  return [next, accuse ? [{ type: 'accuse', peer, incarnation: subject.incarnation }] : []]
}
