/** What the operator is looking at: district, sensor, metric, alert, and the tab on a narrow screen. */

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

  /** Follow the address bar. */
  follow(hash: string): void {
    this.pin = pinOf(hash)
    if (this.pin) this.tab = 'alerts'
  }

  choose(device: string, metric: string | null = null): void {
    this.device = device
    this.metric = metric || null
    this.tab = 'sensor'
  }

  toggleDistrict(district: string): void {
    this.district = this.district === district ? null : district
  }
}
