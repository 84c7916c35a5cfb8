// The switch that every block of a policy has.
import { z } from 'zod';
import { DOC_DEFAULT } from '../fields.ts';

export const mode = z
  .enum(['Enforce', 'Disabled'])
  .meta({
    description:
      'Disabled switches the block off, also where a policy with a wider target sets it: the only way to do so.',
    [DOC_DEFAULT]: 'Enforce',
  })
  .optional();
