import { describe, expect, test } from 'vitest'
import { every, sleep } from '../../../src/base/clock.ts'
import { createFakeClock } from '../../fakes/clock.ts'

const settle = () => new Promise((resolve) => setImmediate(resolve))

describe('sleep', () => {
  test('resolves when its time has passed, and not before', async () => {
    const clock = createFakeClock()
    let woken = false
    void sleep(clock, 100).then(() => (woken = true))
    await clock.advance(99)
    expect(woken).toBe(false)
    await clock.advance(1)
    expect(woken).toBe(true)
  })

  test('is cut short by its signal, and leaves no timer behind', async () => {
    const clock = createFakeClock()
    const controller = new AbortController()
    const sleeping = sleep(clock, 100, controller.signal)
    expect(clock.pending()).toBe(1)
    controller.abort()
    await expect(sleeping).rejects.toMatchObject({ code: 'CANCELLED' })
    expect(clock.pending()).toBe(0)
  })

  test('does not begin under a signal that has aborted', async () => {
    const clock = createFakeClock()
    await expect(sleep(clock, 100, AbortSignal.abort())).rejects.toMatchObject({ code: 'CANCELLED' })
    expect(clock.pending()).toBe(0)
  })

  test('that was slept to its end is not disturbed by a later abort', async () => {
    const clock = createFakeClock()
    const controller = new AbortController()
    const sleeping = sleep(clock, 100, controller.signal)
    await clock.advance(100)
    controller.abort()
    await sleeping
  })
})

describe('every', () => {
  test('runs again and again, asking for each delay anew', async () => {
    const clock = createFakeClock({ monotonicMs: 0 })
    const at: number[] = []
    let delayMs = 10
    const task = every(
      clock,
      () => delayMs,
      () => {
        at.push(clock.monotonicMs())
        delayMs += 10
      },
      () => {},
    )
    await clock.advance(100)
    expect(at).toEqual([10, 30, 60, 100])
    task.stop()
  })

  test('never runs two at once: a slow run delays the next', async () => {
    const clock = createFakeClock()
    let running = 0
    let most = 0
    let runs = 0
    const task = every(
      clock,
      () => 10,
      async () => {
        most = Math.max(most, ++running)
        runs++
        await sleep(clock, 35)
        running--
      },
      () => {},
    )
    await clock.advance(100)
    expect(most).toBe(1)
    expect(runs).toBe(3) // at 10, 55 and 100
    task.stop()
  })

  test('goes on after an error, which it hands over', async () => {
    const clock = createFakeClock()
    const errors: unknown[] = []
    let runs = 0
    const task = every(
      clock,
      () => 10,
      () => {
        if (++runs % 2 === 1) throw new Error(`run ${runs}`)
      },
      (error) => errors.push(error),
    )
    await clock.advance(30)
    expect(runs).toBe(3)
    expect(errors).toEqual([new Error('run 1'), new Error('run 3')])
    task.stop()
  })

  test('runs no more once it is stopped, also when it is stopped by its own run', async () => {
    const clock = createFakeClock()
    let runs = 0
    const task = every(
      clock,
      () => 10,
      () => {
        runs++
        task.stop()
      },
      () => {},
    )
    await clock.advance(1_000)
    expect(runs).toBe(1)
    expect(clock.pending()).toBe(0)
    const other = every(
      clock,
      () => 10,
      () => void runs++,
      () => {},
    )
    other.stop()
    await clock.advance(1_000)
    expect(runs).toBe(1)
  })
})

describe('the fake clock', () => {
  test('fires timers in the order of their times, at their times, those of timers included', async () => {
    const clock = createFakeClock({ monotonicMs: 0 })
    const fired: string[] = []
    const note = (name: string) => fired.push(`${name}@${clock.monotonicMs()}`)
    clock.after(30, () => note('c'))
    clock.after(10, () => {
      note('a')
      clock.after(10, () => note('b'))
    })
    clock.after(30, () => note('d'))
    clock.after(5, () => note('never')).cancel()
    await clock.advance(50)
    expect(fired).toEqual(['a@10', 'b@20', 'c@30', 'd@30'])
    expect(clock.monotonicMs()).toBe(50)
  })

  test('moves the wall clock with the other, and alone when it jumps', async () => {
    const clock = createFakeClock({ wallMs: 1_000_000, monotonicMs: 0 })
    await clock.advance(10)
    expect(clock.wallMs()).toBe(1_000_010)
    clock.jumpWall(-500)
    expect([clock.wallMs(), clock.monotonicMs()]).toEqual([999_510, 10])
  })

  test('stands still by itself', async () => {
    const clock = createFakeClock()
    const before = clock.monotonicMs()
    await settle()
    expect(clock.monotonicMs()).toBe(before)
  })
})
