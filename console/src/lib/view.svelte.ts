/** What the operator is looking at: district, sensor, metric, alert, and the tab on a narrow screen. */

import { tick } from 'svelte'
import { type Pin, pinOf } from './pin'

export type Tab = 'map' | 'districts' | 'alerts' | 'sensor'
export const TABS: readonly Tab[] = ['map', 'districts', 'alerts', 'sensor']

export class View {
  district = $state<string | null>(null)
  device = $state<string | null>(null)
  /** The metric whose chart is open; null = the sensor's first one. */
  metric = $state<string | null>(null)
  alert = $state<string | null>(null)
  pin = $state.raw<Pin | null>(null)
  tab = $state<Tab>('map')
  /** What the sensor was opened from: closing it leads back there. */
  #opener: Element | null = null
  #from: Tab = 'map'

  /** Follow the address bar. */
  follow(hash: string): void {
    this.pin = pinOf(hash)
    if (this.pin) this.tab = 'alerts'
  }

  choose(device: string, metric: string | null = null): void {
    const opener = document.activeElement
    if (this.tab !== 'sensor' || !this.device) [this.#opener, this.#from] = [opener, this.tab]
    else this.#opener = opener
    this.device = device
    this.metric = metric || null
    this.tab = 'sensor'
    void tick().then(() => opener?.checkVisibility() || document.getElementById('sensor-title')?.focus())
  }

  close(): void {
    this.device = null
    this.tab = this.#from
    const opener = this.#opener
    void tick().then(() => (opener instanceof HTMLElement && opener.checkVisibility() ? opener : document.getElementById('alerts'))?.focus())
  }

  toggleDistrict(district: string): void {
    this.district = this.district === district ? null : district
  }
}
