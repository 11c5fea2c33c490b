/** The REST client: one function per route that the console uses. Every failure is an `ApiError`. */
import type { Alert, AlertEvent, Completeness, Device, District, Me, Readings, Snapshot } from './types'

export class ApiError extends Error {
  /** `status` is 0 when the server could not be reached; `detail` is the server's own sentence, in English. */
  constructor(
    readonly status: number,
    readonly detail: string,
  ) {
    super(detail)
  }
}

const TIMEOUT_MS = 10_000

/** Told to the window when the server does not know the session any more. */
export const SIGNED_OUT = 'signedout'

async function request<T>(path: string, init: RequestInit = {}, timeout = TIMEOUT_MS): Promise<T> {
  let response: Response
  try {
    response = await fetch(`/api/v1${path}`, {
      credentials: 'same-origin',
      signal: AbortSignal.timeout(timeout),
      ...init,
      headers: { accept: 'application/json', ...init.headers },
    })
  } catch (error) {
    throw new ApiError(0, String(error))
  }
  if (response.status === 401 && path !== '/login') globalThis.dispatchEvent?.(new Event(SIGNED_OUT))
  if (!response.ok) throw new ApiError(response.status, await problem(response))
  if (response.status === 204) return undefined as T
  try {
    return (await response.json()) as T
  } catch (error) {
    throw new ApiError(0, String(error)) // cut off half way: the same as not reached
  }
}

async function problem(response: Response): Promise<string> {
  try {
    const body = (await response.json()) as { detail?: unknown; title?: unknown }
    return String(body.detail ?? body.title ?? response.statusText)
  } catch {
    return response.statusText
  }
}

/** Hand over an answer, or why there is none, until told to forget it: what an effect starts, and returns to end it. */
export function unlessForgotten<T>(answer: Promise<T>, got: (value: T) => void, failed: (error: unknown) => void): () => void {
  let alive = true
  answer.then(
    (value) => {
      if (alive) got(value)
    },
    (error) => {
      if (alive) failed(error)
    },
  )
  return () => {
    alive = false
  }
}

const post = <T>(path: string, body: unknown, headers: Record<string, string> = {}): Promise<T> =>
  request<T>(path, { method: 'POST', body: JSON.stringify(body), headers: { 'content-type': 'application/json', ...headers } })

const query = (values: Record<string, string | number | undefined>): string => {
  const set = Object.entries(values).filter(([, v]) => v !== undefined)
  return set.length ? `?${new URLSearchParams(set.map(([k, v]) => [k, String(v)]))}` : ''
}

interface Page<T> {
  items: T[]
  next_cursor?: string | null
}

/** Pages that are followed at most, so that a broken cursor cannot loop for ever. */
const MAX_PAGES = 50

/** The same for the alerts of one incident: 1,000 of them. */
const MAX_INCIDENT_PAGES = 5

export const api = {
  login: (name: string, password: string) => post<Me>('/login', { name, password }),
  logout: () => post<void>('/logout', {}),
  me: () => request<Me>('/me'),
  districts: async () => (await request<Page<District>>('/districts')).items,
  devices: async () => (await request<Page<Device>>('/devices')).items,
  latest: (device?: string, timeout?: number) => request<Snapshot>(`/latest${query({ device })}`, {}, timeout),
  readings: (series: number, start: Date, end: Date, points: number) =>
    request<Readings>(
      `/series/${series}/readings${query({ start: start.toISOString(), end: end.toISOString(), points, aggregate: 'mean' })}`,
    ),
  /** By series of the device, the last 24 hours that are over. */
  completeness: async (device: string) => (await request<Page<Completeness>>(`/completeness${query({ device })}`)).items,
  alert: (id: string) => request<Alert>(`/alerts/${encodeURIComponent(id)}`),
  /** All active alerts that page people, whatever their number: nothing open may be missing from the inbox. */
  activeAlerts: async (): Promise<Alert[]> => {
    const all: Alert[] = []
    let cursor: string | undefined
    for (let page = 0; page < MAX_PAGES; page++) {
      const got = await request<Page<Alert>>(`/alerts${query({ state: 'active', retrospective: 'false', limit: 200, cursor })}`)
      all.push(...got.items)
      if (!got.next_cursor) return all
      cursor = got.next_cursor
    }
    return all
  },
  /** The alerts of one incident, its founder first, then by opening; `partial` when the server has more than is worth fetching. */
  incident: async (id: string): Promise<{ alerts: Alert[]; partial: boolean }> => {
    const founder = await request<Alert>(`/alerts/${encodeURIComponent(id)}`)
    const members: Alert[] = []
    let cursor: string | null | undefined
    for (let page = 0; page < MAX_INCIDENT_PAGES && cursor !== null; page++) {
      const got = await request<Page<Alert>>(`/alerts${query({ state: 'all', incident: id, limit: 200, cursor })}`)
      members.push(...got.items.filter((alert) => alert.id !== id))
      cursor = got.next_cursor ?? null
    }
    return { alerts: [founder, ...members.toSorted((a, b) => a.opened_at.localeCompare(b.opened_at))], partial: cursor !== null }
  },
  pastAlerts: async (filter: { device?: string; state: 'resolved' | 'all'; retrospective?: 'true'; limit: number }) =>
    (await request<Page<Alert>>(`/alerts${query(filter)}`)).items,
  history: async (id: string) => (await request<Page<AlertEvent>>(`/alerts/${encodeURIComponent(id)}/history`)).items,
  comment: (id: string, comment: string) => post<Alert>(`/alerts/${encodeURIComponent(id)}/comment`, { comment }),
  act: (alert: Alert, action: 'acknowledge' | 'resolve') =>
    post<Alert>(`/alerts/${encodeURIComponent(alert.id)}/${action}`, {}, { 'if-match': `"${alert.version}"` }),
}
