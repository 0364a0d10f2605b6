import { writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { openApiText } from '../dist/http/routes.js';

/** Writes docs/openapi.json from the schemas that check the requests. */
writeFileSync(fileURLToPath(new URL('../docs/openapi.json', import.meta.url)), openApiText);
