/**
 * The city as the console knows it: snapshot, live frames on top, alerts, and the health of the link.
 *
 * Values live in plain maps: ten thousand reactive proxies would own the frame budget. `tick` counts changes of values,
 * `presence` changes of devices or alerts; whoever reads the maps reads the counter first.
 */
import { ApiError, api } from './api'
import { LiveFeed, Sequence } from './feed'
import { byUrgency, counts, healthOf, type Health } from './judge'
import { rankOf } from './rows'
import type { Alert, Device, District, Frame, LatestItem } from './types'
import { qualityCodes } from './types'

export interface Live {
  series: number
  device: string
  metric: string
  district: string
  unit: string
  value: number
  /** Epoch milliseconds. */
  measured: number
  quality: string[]
  severity: number
}

export type Link = 'connecting' | 'live' | 'quiet' | 'halted' | 'lost'

/** A lost stream is shown after this long, so that a blink of the network does not flash a banner. */
const LOST_AFTER_MS = 1500
/** No frame for this long: ask the server whether something was missed. */
const PROBE_AFTER_MS = 3000
const PROBE_TIMEOUT_MS = 1500
/** No data for this long although connected: say so. */
const QUIET_AFTER_MS = 30_000
/** The server has not heard the processor for this long (it speaks every 2 s): values and alerts stand still. */
const HALTED_AFTER_MS = 10_000
const RESYNC_PAUSE_MS = 1000
/** More changed alerts than this at once: fetching the list is cheaper. */
const MANY_ALERTS = 8

export class City {
  phase = $state<'loading' | 'ready' | 'failed'>('loading')
  failure = $state.raw<unknown>(null)
  districts = $state.raw<District[]>([])
  devices = $state.raw<Device[]>([])
  alerts = $state.raw<Alert[]>([])
  tick = $state(0)
  presence = $state(0)
  now = $state(Date.now())
  lostAt = $state<number | null>(null)
  lastData = $state(0)
  connected = $state(false)
  /** When the server last heard the processor, by our clock; null until it told. */
  processorAt = $state<number | null>(null)

  readonly latest = new Map<number, Live>()
  readonly bySensor = new Map<string, Live[]>()
  readonly health = new Map<string, Health>()
  readonly byDevice = new Map<string, Device>()
  readonly alertsOf = new Map<string, Alert[]>()
  readonly districtName = new Map<string, string>()

  readonly #sequence = new Sequence()
  readonly #byId = new Map<string, Alert>()
  readonly #changed = new Set<string>()
  readonly #onFrame = new Set<(frame: Frame) => void>()
  #feed: LiveFeed | null = null
  #clock: ReturnType<typeof setInterval> | undefined
  #generation = 0
  #probing = false
  #fetching = false
  #lastFrame = Date.now()

  start(): void {
    this.#clock = setInterval(() => this.#everySecond(), 1000)
    this.#feed = new LiveFeed({
      hello: () => {
        this.connected = true
        this.#lastFrame = Date.now()
        void this.#resync()
      },
      frame: (frame) => this.#receive(frame),
      lost: () => this.#lose(),
      refused: () => {
        this.#lose()
        void api.me().catch(() => {}) // if the session is over, this tells
      },
    })
  }

  stop(): void {
    this.#generation++
    clearInterval(this.#clock)
    this.#feed?.stop()
  }

  get link(): Link {
    if (this.lostAt !== null && this.now - this.lostAt >= LOST_AFTER_MS) return 'lost'
    if (this.phase === 'loading') return 'connecting'
    if (this.processorAt !== null && this.now - this.processorAt > HALTED_AFTER_MS) return 'halted'
    return this.now - this.lastData > QUIET_AFTER_MS ? 'quiet' : 'live'
  }

  /** Hear of every applied frame, after it was applied; returns how to stop. */
  listen(hear: (frame: Frame) => void): () => void {
    this.#onFrame.add(hear)
    return () => this.#onFrame.delete(hear)
  }

  /** Take over an alert as an action returned it; an older version than the known one is ignored. */
  take(alert: Alert): void {
    this.#put(alert)
    this.#settle()
  }

  alert(id: string): Alert | undefined {
    return this.#byId.get(id)
  }

  #lose(): void {
    this.connected = false
    this.lostAt ??= Date.now()
    this.#generation++ // a snapshot on its way belongs to the lost connection
  }


  async #resync(): Promise<void> {
    const generation = ++this.#generation
    this.#sequence.reset()
    this.#changed.clear()
    try {
      const [districts, devices, snapshot, alerts] = await Promise.all([
        api.districts(),
        api.devices(),
        api.latest(),
        api.activeAlerts(),
      ])
      if (generation !== this.#generation) return
      this.districts = districts
      this.devices = devices
      this.#index(snapshot.items, alerts)
      const follow = this.#sequence.anchor(snapshot.epoch, snapshot.n)
      if (follow === null) return this.#resyncSoon(generation)
      this.phase = 'ready'
      this.lostAt = null
      for (const frame of follow) this.#apply(frame)
    } catch (error) {
      if (generation !== this.#generation) return
      if (this.phase === 'loading') {
        this.phase = 'failed'
        this.failure = error
      }
      this.lostAt ??= Date.now()
      this.#resyncSoon(generation)
    }
  }

  #resyncSoon(generation: number): void {
    setTimeout(() => {
      if (generation === this.#generation && this.connected) void this.#resync()
    }, RESYNC_PAUSE_MS)
  }

  #index(items: LatestItem[], alerts: Alert[]): void {
    this.latest.clear()
    this.bySensor.clear()
    this.byDevice.clear()
    this.districtName.clear()
    for (const district of this.districts) this.districtName.set(district.id, district.name || district.id)
    for (const device of this.devices) this.byDevice.set(device.id, device)
    for (const item of items) {
      const live: Live = { ...item, measured: Date.parse(item.measured) }
      this.latest.set(item.series, live)
      const siblings = this.bySensor.get(item.device)
      if (siblings) siblings.push(live)
      else this.bySensor.set(item.device, [live])
      this.lastData = Math.max(this.lastData, Math.min(live.measured, Date.now()))
    }
    for (const siblings of this.bySensor.values())
      siblings.sort((a, b) => rankOf(a.metric) - rankOf(b.metric) || a.metric.localeCompare(b.metric))
    this.#byId.clear()
    for (const alert of alerts) this.#byId.set(alert.id, alert)
    this.#settle()
    this.tick++
  }

  #receive(frame: Frame): void {
    this.#lastFrame = Date.now()
    if (frame.live_age_seconds !== undefined) this.processorAt = Date.now() - frame.live_age_seconds * 1000
    switch (this.#sequence.accept(frame)) {
      case 'apply':
        this.#apply(frame)
        break
      case 'resync':
        this.#sequence.reset()
        this.#sequence.accept(frame)
        this.#resyncSoon(++this.#generation)
        break
      case 'skip':
    }
  }

  #apply(frame: Frame): void {
    let strange = false
    frame.series.forEach((series, row) => {
      const live = this.latest.get(series)
      const measured = frame.measured[row] ?? 0
      if (!live) {
        strange = true // a series that was born after the snapshot
        return
      }
      if (measured < live.measured) return // "latest" is by measured time
      live.measured = measured
      live.value = frame.value[row] ?? Number.NaN
      live.quality = qualityCodes(frame.quality[row] ?? 0)
      live.severity = frame.severity[row] ?? 0
    })
    if (frame.series.length) this.lastData = Date.now()
    const moved = [...frame.online.map((id) => [id, true] as const), ...frame.offline.map((id) => [id, false] as const)]
    for (const [id, online] of moved) {
      const device = this.byDevice.get(id)
      if (!device) strange = true
      else if (device.online !== online) Object.assign(device, { online, since: new Date(frame.sent).toISOString() })
    }
    if (moved.length) this.#settle()
    this.tick++
    for (const id of frame.alerts) this.#changed.add(id)
    void this.#fetchChanged()
    for (const hear of this.#onFrame) hear(frame)
    if (strange) this.#resyncSoon(this.#generation)
  }

  async #fetchChanged(): Promise<void> {
    if (this.#fetching || this.#changed.size === 0) return
    this.#fetching = true
    const generation = this.#generation
    const ids = [...this.#changed]
    this.#changed.clear()
    try {
      if (ids.length > MANY_ALERTS) {
        const all = await api.activeAlerts()
        const active = new Set(all.map((alert) => alert.id))
        for (const id of ids) if (!active.has(id)) this.#byId.delete(id)
        for (const alert of all) this.#put(alert)
      } else {
        for (const alert of await Promise.all(ids.map((id) => api.alert(id)))) this.#put(alert)
      }
      this.#settle()
    } catch (error) {
      const gone = error instanceof ApiError && error.status === 404
      if (!gone && generation === this.#generation)
        for (const id of ids) this.#changed.add(id) // the clock tries again
    } finally {
      this.#fetching = false
    }
  }

  #put(alert: Alert): void {
    const known = this.#byId.get(alert.id)
    if (known && known.version > alert.version) return
    if (counts(alert)) this.#byId.set(alert.id, alert)
    else this.#byId.delete(alert.id)
  }

  /** Work out what follows from alerts and presence. */
  #settle(): void {
    this.alerts = [...this.#byId.values()].filter(counts).toSorted(byUrgency)
    this.alertsOf.clear()
    for (const alert of this.alerts) {
      const siblings = this.alertsOf.get(alert.device)
      if (siblings) siblings.push(alert)
      else this.alertsOf.set(alert.device, [alert])
    }
    for (const device of this.devices) this.health.set(device.id, healthOf(device, this.alertsOf.get(device.id) ?? []))
    this.presence++
  }

  #everySecond(): void {
    this.now = Date.now()
    void this.#fetchChanged()
    if (this.connected && this.phase === 'ready' && this.now - this.#lastFrame > PROBE_AFTER_MS) void this.#probe()
  }

  /** The stream is silent: nothing happens in the city, or it is dead without saying so. The snapshot's `n` tells. */
  async #probe(): Promise<void> {
    if (this.#probing) return
    this.#probing = true
    try {
      const { epoch, n } = await api.latest(this.devices[0]?.id ?? '-', PROBE_TIMEOUT_MS)
      const missed = epoch !== this.#sequence.epoch || n > this.#sequence.n
      if (!missed) this.#lastFrame = Date.now()
      else if (Date.now() - this.#lastFrame > PROBE_AFTER_MS) {
        this.#lose()
        this.#feed?.renew()
      }
    } catch (error) {
      if (error instanceof ApiError && error.status === 0) {
        this.#lose()
        this.#feed?.renew()
      }
    } finally {
      this.#probing = false
    }
  }
}
