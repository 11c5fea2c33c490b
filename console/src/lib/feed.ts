/**
 * The live feed. `Sequence` decides what a frame means; `LiveFeed` carries frames from the WebSocket to it.
 *
 * A snapshot contains every frame up to its `n`. After the hello of a new connection a snapshot is fetched while
 * frames are kept; then the kept ones follow. Another epoch or a hole in the numbers means: fetch the snapshot again.
 */
import type { Frame } from './types'

export type Verdict = 'apply' | 'skip' | 'resync'

/** Frames kept while a snapshot is on its way; more than this and a newer snapshot is cheaper. */
export const MAX_KEPT = 500

export class Sequence {
  #epoch: string | null = null
  #n = 0
  #kept: Frame[] = []

  get epoch(): string | null {
    return this.#epoch
  }

  get n(): number {
    return this.#n
  }

  /** Forget the snapshot and keep frames from now on. */
  reset(): void {
    this.#epoch = null
    this.#kept = []
  }

  /** Say what to do with `frame`: `skip` also stands for "kept until the snapshot is here". */
  accept(frame: Frame): Verdict {
    if (this.#epoch === null) {
      this.#kept.push(frame)
      if (this.#kept.length > MAX_KEPT) this.#kept.shift()
      return 'skip'
    }
    if (frame.epoch !== this.#epoch) return 'resync'
    if (frame.n <= this.#n) return 'skip'
    if (frame.n !== this.#n + 1) return 'resync'
    this.#n = frame.n
    return 'apply'
  }

  /** Start from a snapshot; return the kept frames that follow it, or null if there is a hole and another is needed. */
  anchor(epoch: string, n: number): Frame[] | null {
    const kept = this.#kept
    this.#kept = []
    this.#epoch = epoch
    this.#n = n
    const follow: Frame[] = []
    for (const frame of kept) {
      const verdict = this.accept(frame)
      if (verdict === 'resync') {
        this.reset()
        return null
      }
      if (verdict === 'apply') follow.push(frame)
    }
    return follow
  }
}

/** Milliseconds to wait before attempt `attempt` (0, 1, …): doubled up to 8 s, spread by `random` in [0, 1). */
export const backoff = (attempt: number, random: number): number => Math.min(8000, 500 * 2 ** attempt) * (0.5 + random / 2)

export interface Listener {
  /** Connected and greeted: fetch a snapshot. */
  hello(): void
  frame(frame: Frame): void
  /** The connection is gone; another attempt follows by itself. */
  lost(): void
  /** The server turned the connection away: perhaps the login is over. */
  refused(): void
}

const isHello = (frame: Frame): boolean =>
  !frame.series?.length && !frame.alerts?.length && !frame.online?.length && !frame.offline?.length

const CONNECT_TIMEOUT_MS = 5000

/** One WebSocket that comes back by itself until `stop()`. */
export class LiveFeed {
  #socket: WebSocket | null = null
  #timer: ReturnType<typeof setTimeout> | undefined
  #attempt = 0
  #stopped = false
  readonly #listener: Listener

  constructor(listener: Listener) {
    this.#listener = listener
    this.#connect()
  }

  #connect(): void {
    const socket = new WebSocket(`${location.origin.replace(/^http/, 'ws')}/api/v1/live`)
    this.#socket = socket
    let greeted = false
    const timeout = setTimeout(() => socket.close(), CONNECT_TIMEOUT_MS)
    socket.onmessage = (message: MessageEvent<string>) => {
      if (socket !== this.#socket) return
      const frame = JSON.parse(message.data) as Frame
      if (!greeted) {
        greeted = true
        clearTimeout(timeout)
        this.#attempt = 0
        this.#listener.hello()
        if (isHello(frame)) return
      }
      this.#listener.frame(frame)
    }
    socket.onclose = () => {
      clearTimeout(timeout)
      if (this.#stopped || socket !== this.#socket) return
      if (greeted) this.#listener.lost()
      else this.#listener.refused()
      this.#timer = setTimeout(() => this.#connect(), backoff(this.#attempt++, Math.random()))
    }
  }

  /** Drop the connection and take a new one at once: it is silent although something happened. */
  renew(): void {
    clearTimeout(this.#timer)
    const old = this.#socket
    this.#socket = null
    old?.close()
    this.#connect()
  }

  stop(): void {
    this.#stopped = true
    clearTimeout(this.#timer)
    this.#socket?.close()
  }
}
