-- Delete a session that is seen, ASKED; else one at the revision EXPECTED, expired or not.
--
-- {'deleted', {when it was changed, its tenant, its user} if the client keeps the lists, else {}} or {'none'}.

if ASKED == '1' and not seen or ASKED == '' and EXPECTED ~= state.revision then return {'none'} end
if ASKED == '1' and stale then return stale end
vacate()
mark_run()
return {'deleted', INDEX == '' and {state.updated_at, state.tenant_id or '', state.user_id or ''} or {}}
