"""The schema: applying `sql/migrations` to a database, and rolling them back.

Others call `migrate`; dbmate sends the files. For the Supabase CLI they are exported.
"""
