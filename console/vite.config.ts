import { svelte } from '@sveltejs/vite-plugin-svelte'
import { defineConfig } from 'vite'

/** `URBANPULSE_CONSOLE_OUT` is set by hatch_build.py; `URBANPULSE_API` points `npm run dev` at a running api. */
export default defineConfig({
  plugins: [svelte()],
  build: {
    target: 'es2022',
    outDir: process.env.URBANPULSE_CONSOLE_OUT ?? '../api/static',
    emptyOutDir: true,
    assetsInlineLimit: 0, // data: addresses would need a looser content security policy
    modulePreload: { polyfill: false },
  },
  server: { proxy: { '/api': { target: process.env.URBANPULSE_API ?? 'http://127.0.0.1:8080', ws: true } } },
})
