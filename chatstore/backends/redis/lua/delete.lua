-- Delete a session that is seen; with EXPECTED one at that revision, expired or not.
--
-- {'deleted', {when it was changed, its tenant, its user} if the client keeps the lists, else {}} or {'none'}.

if EXPECTED == '' and not seen or EXPECTED ~= '' and EXPECTED ~= state.revision then return {'none'} end
vacate()
mark_run()
return {'deleted', INDEX == '' and {state.updated_at, state.tenant_id or '', state.user_id or ''} or {}}
